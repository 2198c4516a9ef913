#!/usr/bin/env python3
"""The conversation as a person at a terminal has it: Tab, history, letters beyond ASCII, a recording.
usage: terminal_test.py PROGRAM MODEL"""
import os
import pty
import select
import sys
import tempfile
import time

program, model = sys.argv[1:]
folder = tempfile.mkdtemp()
open(f"{folder}/picture.jpg", "w").close()
os.chdir(folder)


class Terminal:
    def __init__(self, *arguments):
        self.child, self.port = pty.fork()
        if self.child == 0:
            os.environ["TERM"] = "xterm"
            os.execv(program, [program, "converse", "-m", model, "--out", folder, *arguments])
        self.text = ""

    def type(self, keys):
        time.sleep(1)  # libedit shows its prompt before it takes the terminal over, and drops what came between
        os.write(self.port, keys.encode())

    def expect(self, words, seconds=120):
        """What came up to and with the words; they are waited for."""
        end = time.monotonic() + seconds
        while words not in self.text:
            ready, _, _ = select.select([self.port], [], [], max(0, end - time.monotonic()))
            try:
                got = os.read(self.port, 4096) if ready else b""
            except OSError:  # the program has ended
                got = b""
            if not got:
                os.kill(self.child, 9)
                raise SystemExit(f"FAILED: no '{words}' in {self.text!r}")
            self.text += got.decode(errors="replace")
        before, _, self.text = self.text.partition(words)
        return before + words

    def end(self, seconds=60):
        """The program leaves by itself. Its last words are read: else its terminal would wait for that."""
        end = time.monotonic() + seconds
        try:
            while select.select([self.port], [], [], max(0, end - time.monotonic()))[0]:
                got = os.read(self.port, 4096)
                self.text += got.decode(errors="replace")
                if not got:
                    break
            else:
                os.kill(self.child, 9)
        except OSError:  # it has ended
            pass
        _, status = os.waitpid(self.child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, f"exit {status} after {self.text!r}"


talk = Terminal("--mic-device", "lavfi:sine=duration=1", "--to", "text", "--seed", "1")
talk.expect("Tab completes")
talk.expect("> ")
talk.type("/he\t\n")  # one command begins so
talk.expect("/quit")
talk.expect("> ")
talk.type("/image pic\t\n")  # the file is found, and is no picture
talk.expect("picture.jpg: the file is empty")
talk.expect("> ")
talk.type("/seed ä\x7fx\n")  # one key deletes one letter
talk.expect("got 'x'")
talk.expect("> ")
talk.type("\x1b[A\n")  # the line before, once more
talk.expect("got 'x'")
talk.expect("> ")
talk.type("\n")  # records until the device ends, and is answered
talk.expect("recording 1.0 s")
talk.expect("> ")
talk.type("/quit\n")
talk.end()

talk = Terminal()
talk.expect("> ")
talk.type("\x04")
talk.end()
print("all passed")
