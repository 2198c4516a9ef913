"""Goldens of the transforms: torch.stft, torch.istft, torchaudio's and librosa's mel filters.

Writes tests/goldens/stft/transforms.safetensors. Needs tests/parity/requirements.txt.
"""

import pathlib

import librosa
import torch
import torchaudio
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent.parent / "goldens" / "stft"
SEED = 20
# name: samples, n_fft, window length, hop, centre, pad mode
CASES = {
    "reflect": (700, 64, 64, 16, True, "reflect"),
    "zeros_short_window": (333, 64, 40, 20, True, "constant"),
    "bare_odd_hop": (257, 50, 50, 17, False, "reflect"),
    "single_frame": (48, 48, 48, 12, False, "reflect"),
    "odd_fft": (301, 45, 45, 15, True, "reflect"),
}


def main():
    torch.manual_seed(SEED)
    out = {}
    for name, (samples, n_fft, win, hop, center, pad) in CASES.items():
        x = torch.randn(2, samples)
        window = torch.hann_window(win)
        y = torch.stft(x, n_fft, hop, win, window, center=center, pad_mode=pad, return_complex=True)
        out[f"{name}.sizes"] = torch.tensor([n_fft, win, hop, int(center), int(pad == "constant")])
        out[f"{name}.signal"] = x
        out[f"{name}.spectrum"] = torch.view_as_real(y.transpose(1, 2)).contiguous()
        if center:
            out[f"{name}.inverse"] = torch.istft(y, n_fft, hop, win, window, center=True)
            out[f"{name}.inverse_length"] = torch.istft(
                y, n_fft, hop, win, window, center=True, length=samples
            )
    for scale in ("htk", "slaney"):
        out[f"mel.{scale}"] = torchaudio.functional.melscale_fbanks(
            129, 0.0, 8000.0, 20, 16000, mel_scale=scale
        )
    out["mel.librosa"] = torch.from_numpy(
        librosa.filters.mel(sr=16000, n_fft=256, n_mels=20, fmin=50, fmax=7600).T.copy()
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.contiguous() for k, v in out.items()},
        FOLDER / "transforms.safetensors",
        metadata={
            "seed": str(SEED),
            "torch": torch.__version__,
            "torchaudio": torchaudio.__version__,
            "librosa": librosa.__version__,
        },
    )


if __name__ == "__main__":
    main()
