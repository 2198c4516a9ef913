"""Fills the third column of recipes/world/asterisk_prompts.tsv: "yes" where pocketsphinx, with its own English model
and a grammar of all the texts of the list, hears the text in the recording.

    python tools/asterisk_prompts.py FOLDER_OF_G722_FILES
"""
import pathlib
import re
import sys
import tempfile

import av
import numpy as np
from pocketsphinx import Decoder

table = pathlib.Path(__file__).resolve().parents[1] / "recipes/world/asterisk_prompts.tsv"
sounds = pathlib.Path(sys.argv[1])
lines = table.read_text().splitlines()
rows = [line.split("\t") for line in lines if not line.startswith("#")]


def plain(text):
    return re.sub(r"[^a-z' ]", " ", text.lower()).strip()


dictionary = Decoder()
known = sorted({plain(text) for _, text, _ in rows if all(dictionary.lookup_word(w) for w in plain(text).split())})
grammar = pathlib.Path(tempfile.mkdtemp()) / "prompts.jsgf"
grammar.write_text("#JSGF V1.0;\ngrammar p;\npublic <p> = " + " | ".join(known) + " ;\n")
decoder = Decoder(jsgf=str(grammar), samprate=16000)
silence = np.zeros(3200, np.int16)
out = [line for line in lines if line.startswith("#")]
for name, text, _ in rows:
    frames = av.open(str(sounds / f"{name}.g722"), format="g722").decode(audio=0)
    audio = np.concatenate([silence, *[f.to_ndarray().reshape(-1) for f in frames], silence]).astype(np.int16)
    decoder.start_utt()
    decoder.process_raw(audio.tobytes(), full_utt=True)
    decoder.end_utt()
    heard = decoder.hyp().hypstr if decoder.hyp() else ""
    out.append("\t".join([name, text, "yes" if heard == plain(text) else "no"]))
table.write_text("\n".join(out) + "\n")
print(sum(line.endswith("\tyes") for line in out), "of", len(rows), "confirmed")
