"""Goldens for io/image and io/resize: small picture files of every odd kind with the pixels that
Pillow gives for them, and resized pictures.

    python tests/parity/images.py            writes tests/goldens/images/

cases.json lists the cases and the versions; pixels.bin holds all expected bytes, one case after
another. Pillow's wheel brings its own decoders; their versions are recorded.
"""

import io
import json
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps, features

OUT = Path(__file__).parent.parent / "goldens" / "images"
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack_rows(samples, depth, filters):
    """Filtered scan lines of samples [H, W, C]; filter types are drawn from `filters`."""
    height, width, channels = samples.shape
    if depth == 16:
        rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    elif depth == 8:
        rows = samples.astype(np.uint8).reshape(height, -1)
    else:
        bits = ((samples.reshape(height, -1)[..., None] >> np.arange(depth - 1, -1, -1)) & 1).reshape(height, -1)
        rows = np.packbits(bits.astype(np.uint8), axis=1)
    step = max(1, channels * depth // 8)
    out = b""
    above = np.zeros(rows.shape[1], np.int32)
    for row in rows.astype(np.int32):
        left = np.concatenate([np.zeros(step, np.int32), row])[: len(row)]
        corner = np.concatenate([np.zeros(step, np.int32), above])[: len(row)]
        kind = int(filters())
        if kind == 4:
            guess = left + above - corner
            a, b, c = abs(guess - left), abs(guess - above), abs(guess - corner)
            base = np.where((a <= b) & (a <= c), left, np.where(b <= c, above, corner))
        else:
            base = [0 * row, left, above, (left + above) // 2][kind]
        out += bytes([kind]) + ((row - base) & 255).astype(np.uint8).tobytes()
        above = row
    return out


def make_png(samples, color_type, depth, interlaced=False, extra=(), filters=lambda: 0, late=(), idat_parts=1):
    """A PNG of samples [H, W, C] with chunks `extra` before and `late` after the pixels."""
    height, width = samples.shape[:2]
    data = b"\x89PNG\r\n\x1a\n"
    data += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced)))
    for kind, body in extra:
        data += chunk(kind, body)
    if interlaced:
        raw = b""
        for x, y, step_x, step_y in ADAM7:
            part = samples[y::step_y, x::step_x]
            if part.size:
                raw += pack_rows(part, depth, filters)
    else:
        raw = pack_rows(samples, depth, filters)
    packed = zlib.compress(raw, 9)
    cut = max(1, -(-len(packed) // idat_parts))
    for i in range(0, len(packed), cut):
        data += chunk(b"IDAT", packed[i : i + cut])
    for kind, body in late:
        data += chunk(kind, body)
    return data + chunk(b"IEND", b"")


def exif(orientation, big=False, kind=3, count=1):
    order = ">" if big else "<"
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *((orientation, 0) if kind == 3 else (orientation,)))
    entries = struct.pack(order + "HHI4s", 0x010F, 2, 4, b"abc\0") + struct.pack(order + "HHI4s", 0x0112, kind, count, value)
    return (b"MM\0*" if big else b"II*\0") + struct.pack(order + "IH", 8, 2) + entries + struct.pack(order + "I", 0)


def xmp(orientation):
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def with_markers(jpeg, *segments):
    """A JPEG with marker segments (marker, body) put behind SOI."""
    head = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return jpeg[:2] + head + jpeg[2:]


def picture(rng, width, height, channels=3):
    """A smooth picture with some noise and hard edges, so that every filter and block matters."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        127 + 90 * np.sin(x / (3.0 + 2 * c) + c) * np.cos(y / (4.0 + c)) + rng.normal(0, 12, (height, width))
        for c in range(channels)
    ]
    out = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    out[height // 3 : height // 2, width // 4 : width // 2] = rng.integers(0, 256, channels)
    if channels == 4:
        out[: height // 4, :, 3] = 0
        out[height // 2 :, width // 2 :, 3] = 255
    return out


def save(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_cases(rng):
    filters = lambda: rng.integers(0, 5)
    for interlaced in (False, True):
        suffix = "_interlaced" if interlaced else ""
        for color_type, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
            for depth in depths:
                width, height = (13, 9) if interlaced else (19, 11)
                samples = rng.integers(0, 1 << depth, (height, width, PNG_CHANNELS[color_type]))
                extra = []
                if color_type == 0 and depth == 16:
                    samples[::2] = rng.integers(0, 300, samples[::2].shape)
                if color_type == 3:
                    # One entry is missing: the highest index lies beyond the palette.
                    entries = (1 << depth) - 1
                    extra.append((b"PLTE", rng.integers(0, 256, 3 * entries, np.uint8).tobytes()))
                    if depth >= 4:
                        extra.append((b"tRNS", rng.integers(0, 256, entries // 2, np.uint8).tobytes()))
                names = {0: "grey", 2: "rgb", 3: "palette", 4: "grey_alpha", 6: "rgba"}
                yield f"{names[color_type]}{depth}{suffix}.png", make_png(
                    samples, color_type, depth, interlaced, extra, filters, idat_parts=3
                )
    grey = rng.integers(0, 4, (7, 5, 1)) * 60
    yield "grey8_key.png", make_png(grey, 0, 8, extra=[(b"tRNS", struct.pack(">H", 120))])
    rgb = rng.integers(0, 2, (7, 5, 3)) * 255
    yield "rgb8_key.png", make_png(rgb, 2, 8, extra=[(b"tRNS", struct.pack(">HHH", 255, 0, 255))])
    yield "rgb8_suggested_palette_gamma.png", make_png(
        rgb, 2, 8, extra=[(b"gAMA", struct.pack(">I", 22727)), (b"PLTE", bytes(range(9))), (b"bKGD", bytes(6))]
    )
    yield "one_pixel_interlaced.png", make_png(rng.integers(0, 256, (1, 1, 3)), 2, 8, True)
    small = picture(rng, 5, 3)
    yield "exif_early.png", make_png(small, 2, 8, extra=[(b"eXIf", exif(6))])
    yield "exif_late.png", make_png(small, 2, 8, late=[(b"eXIf", exif(8, big=True))])
    yield "xmp.png", make_png(small, 2, 8, extra=[(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(5))])
    animation = save(
        Image.fromarray(small), "PNG", save_all=True, append_images=[Image.fromarray(255 - small)], duration=50
    )
    yield "animated.png", animation
    levels = np.resize([5, 120, 700], (4, 5, 1))
    yield "grey16_key.png", make_png(levels, 0, 16, extra=[(b"tRNS", struct.pack(">H", 120))])
    levels = np.resize([0, 0xC8C8, 0, 0xC8C8], (4, 5, 3))
    yield "rgb16_key.png", make_png(levels, 2, 16, extra=[(b"tRNS", struct.pack(">HHH", 0, 0xC8C8, 0))])


def jpeg_cases(rng):
    rgb = Image.fromarray(picture(rng, 37, 29))
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"baseline_{name}.jpg", save(rgb, "JPEG", quality=80, subsampling=subsampling)
        yield f"progressive_{name}.jpg", save(rgb, "JPEG", quality=60, subsampling=subsampling, progressive=True)
    yield "restart.jpg", save(rgb, "JPEG", quality=75, restart_marker_blocks=2, optimize=True)
    yield "keep_rgb.jpg", save(rgb, "JPEG", quality=90, keep_rgb=True)
    yield "grey.jpg", save(rgb.convert("L"), "JPEG", quality=80)
    yield "grey_progressive.jpg", save(rgb.convert("L"), "JPEG", quality=80, progressive=True)
    cmyk = Image.frombytes("CMYK", (21, 18), picture(rng, 21, 18, 4).tobytes())
    yield "cmyk.jpg", save(cmyk, "JPEG", quality=85)
    yield "cmyk_progressive.jpg", save(cmyk, "JPEG", quality=85, progressive=True)
    # The same with Adobe's marker for YCCK: the first three channels are then YCbCr.
    plain = save(cmyk, "JPEG", quality=85)
    start = plain.index(b"\xff\xee")
    end = start + 2 + int.from_bytes(plain[start + 2 : start + 4], "big")
    yield "ycck.jpg", with_markers(plain[:start] + plain[end:], (0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 2)))
    yield "cmyk_without_marker.jpg", plain[:start] + plain[end:]
    yield "one_pixel.jpg", save(rgb.crop((0, 0, 1, 1)), "JPEG")
    small = Image.fromarray(picture(rng, 11, 7))
    for orientation in range(0, 10):
        yield f"exif{orientation}.jpg", save(small, "JPEG", exif=b"Exif\0\0" + exif(orientation, orientation % 2 == 1))
    plain = save(small, "JPEG")
    yield "exif_long.jpg", with_markers(plain, (0xE1, b"Exif\0\0" + exif(3, kind=4)))
    yield "exif_count_2.jpg", with_markers(plain, (0xE1, b"Exif\0\0" + exif(3, count=2)))
    yield "exif_cut.jpg", with_markers(plain, (0xE1, b"Exif\0\0" + exif(3)[:30]))
    block = exif(7)
    yield "exif_two_parts.jpg", with_markers(plain, (0xE1, b"Exif\0\0" + block[:20]), (0xE1, b"Exif\0\0" + block[20:]))
    yield "xmp.jpg", with_markers(plain, (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6)))
    yield "exif_before_xmp.jpg", with_markers(
        plain, (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6)), (0xE1, b"Exif\0\0" + exif(2))
    )
    yield "trailing_bytes.jpg", plain + b"more bytes behind the end"


def webp_cases(rng):
    rgb = Image.fromarray(picture(rng, 35, 27))
    rgba = Image.fromarray(picture(rng, 35, 27, 4))
    yield "lossy.webp", save(rgb, "WEBP", quality=75)
    yield "lossy_low.webp", save(rgb, "WEBP", quality=5)
    yield "lossless.webp", save(rgb, "WEBP", lossless=True)
    yield "lossy_alpha.webp", save(rgba, "WEBP", quality=80)
    yield "lossless_alpha.webp", save(rgba, "WEBP", lossless=True, exact=True)
    yield "one_pixel.webp", save(rgb.crop((0, 0, 1, 1)), "WEBP")
    yield "exif.webp", save(rgb, "WEBP", quality=30, exif=b"Exif\0\0" + exif(6))
    yield "xmp.webp", save(rgb, "WEBP", quality=30, xmp=xmp(4))
    frames = [Image.fromarray(picture(rng, 24, 20)) for _ in range(2)]
    yield "animated.webp", save(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=40)
    # The first frame covers only a part of the canvas: the encoder never writes such a file.
    part = save(Image.fromarray(picture(rng, 9, 7)), "WEBP", lossless=True)[12:]
    for name, flags in (("", 0x02), ("_alpha", 0x12)):
        u24 = lambda v: struct.pack("<I", v)[:3]
        frame = u24(2) + u24(3) + u24(8) + u24(6) + u24(40) + b"\0" + part
        body = b"VP8X" + struct.pack("<IB3x", 10, flags) + u24(19) + u24(15)
        body += b"ANIM" + struct.pack("<IIH", 6, 0xFF336699, 0) + b"ANMF" + struct.pack("<I", len(frame)) + frame
        yield f"animated_part{name}.webp", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def expected(data, keep_alpha, upright):
    image = Image.open(io.BytesIO(data))
    if upright:
        image = ImageOps.exif_transpose(image)
    return np.asarray(image.convert("RGBA" if keep_alpha else "RGB"))


RESIZES = [
    # size of the source, size of the result, box
    ((17, 13), (17, 13), None),
    ((17, 13), (8, 6), None),
    ((17, 13), (5, 13), None),
    ((17, 13), (17, 4), None),
    ((17, 13), (29, 22), None),
    ((17, 13), (9, 31), None),
    ((17, 13), (1, 1), None),
    ((1, 1), (5, 3), None),
    ((2, 31), (7, 5), None),
    ((17, 13), (6, 5), (2, 1, 15, 11)),
    ((17, 13), (7, 9), (1.25, 0.5, 16.75, 12.125)),
    ((17, 13), (6, 5), (3, 4, 9, 9)),
    ((17, 13), (11, 3), (16.5, 12.5, 17, 13)),
]


def main():
    warnings.simplefilter("ignore")  # some files are odd on purpose, and Pillow says so
    rng = np.random.default_rng(20240917)
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    pixels = bytearray()
    cases = {
        "versions": {
            "python": sys.version.split()[0],
            "pillow": PIL.__version__,
            "numpy": np.__version__,
            **{name: features.version(name) for name in ("libjpeg_turbo", "zlib", "webp")},
        },
        "decode": [],
        "resize": [],
        "jpeg": [],
    }

    def store(array):
        offset = len(pixels)
        pixels.extend(array.tobytes())
        height, width = array.shape[:2]
        return {"width": width, "height": height, "channels": 1 if array.ndim == 2 else array.shape[2], "offset": offset}

    for make in (png_cases, jpeg_cases, webp_cases):
        for name, data in make(rng):
            (OUT / name).write_bytes(data)
            alpha = any(word in name for word in ("alpha", "rgba", "palette8", "key", "grey16.", "animated_part"))
            turned = "exif6" in name or name in ("exif.webp", "exif_early.png")
            for keep_alpha, upright in [(False, True)] + [(True, True)] * alpha + [(False, False)] * turned:
                case = {"file": name, "keep_alpha": keep_alpha, "upright": upright}
                cases["decode"].append(case | store(expected(data, keep_alpha, upright)))
    for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        sources = {}
        for size, new_size, box in RESIZES:
            if size not in sources:
                array = picture(rng, *size, channels)
                array = array[..., 0] if channels == 1 else array
                sources[size] = (Image.frombytes(mode, size, array.tobytes()), store(array))
            image, where = sources[size]
            for name, number in FILTERS.items():
                result = np.asarray(image.resize(new_size, number, box))
                cases["resize"].append({"source": where, "filter": name, "box": box} | store(result))
    for channels in (1, 3):
        array = picture(rng, 27, 19, channels)
        image = Image.fromarray(array[..., 0] if channels == 1 else array)
        for quality in (30, 90):
            decoded = np.asarray(Image.open(io.BytesIO(save(image, "JPEG", quality=quality))).convert("RGB"))
            cases["jpeg"].append({"source": store(np.asarray(image)), "quality": quality} | store(decoded))
    (OUT / "pixels.bin").write_bytes(bytes(pixels))
    text = ",\n".join(
        f'"{key}": ' + (json.dumps(value) if isinstance(value, dict) else "[\n" + ",\n".join(map(json.dumps, value)) + "\n]")
        for key, value in cases.items()
    )
    (OUT / "cases.json").write_text("{\n" + text + "\n}\n")
    total = sum(path.stat().st_size for path in OUT.iterdir())
    print(f"{len(cases['decode'])} decode, {len(cases['resize'])} resize, {len(cases['jpeg'])} jpeg cases, {total} bytes")


if __name__ == "__main__":
    main()
