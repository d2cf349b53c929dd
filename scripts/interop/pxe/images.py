"""The two images that are booted: they check themselves, and say so on the serial line."""

import random
import struct

from lib import run

WHOLE = "BOOTED BY TFTP"
BROKEN = "THE IMAGE IS BROKEN"
# In pieces of 64 KiB, as the BIOS has room for 0.5 MiB; in octets, no multiple of a block of TFTP.
SEGMENTS = 6
FILLER = 3 * 1024 * 1024 + 544


def noise(length):
    """The same octets each time, which no block repeats."""
    return random.Random(1350).randbytes(length)


def assemble(source, image, bits, address, *options):
    """The raw octets that an assembler's text stands for, at the address where they will lie."""
    kind = "elf_i386" if bits == 32 else "elf_x86_64"
    object_file = image.with_suffix(".o")
    for argv in (["as", f"--{bits}", *options, "-I", image.parent, source, "-o", object_file],
                 ["ld", "-m", kind, "-e", address, f"-Ttext={address}", "--oformat", "binary",
                  object_file, "-o", image]):
        run(argv).good()
    return bytearray(image.read_bytes())


def balance(image, start, at):
    """Makes the sum of all words from `start` on zero with the one `at`."""
    body = image[start:]
    total = sum(struct.unpack(f"<{len(body) // 4}I", body))
    image[at:at + 4] = struct.pack("<I", -total % 2**32)


def bios(folder, source):
    """A network boot program, in `folder`."""
    image = assemble(source, folder / "bios", 32, "0x7c00", "--defsym", f"SEGMENTS={SEGMENTS}")
    image += noise(SEGMENTS * 65536 - len(image) - 4) + bytes(4)
    balance(image, 0, len(image) - 4)
    return image


def uefi(folder, source):
    """An application of the firmware, in `folder`."""
    (folder / "filler").write_bytes(noise(FILLER))
    image = assemble(source, folder / "uefi", 64, "0")
    filler_at = image.find(noise(64))
    balance(image, 512, filler_at - 32)
    return image
