#!/usr/bin/env python3
"""macho.py FILE [SYMBOL...] - check that FILE is a program for Macs with Apple's processors.

It must be a 64-bit arm64 executable for macOS, signed (the kernel runs no other), linked with
nothing but libraries that every Mac has, and import each SYMBOL. The form is that of
<mach-o/loader.h> and <mach-o/nlist.h>.
"""

import struct
import sys

MAGIC_64, ARM64, EXECUTE = 0xFEEDFACF, 0x0100000C, 2
SYMTAB, LOAD_DYLIB, LOAD_WEAK_DYLIB, CODE_SIGNATURE, BUILD_VERSION = 0x2, 0xC, 0x80000018, 0x1D, 0x32
MACOS = 1
UNDEFINED, EXTERNAL, KIND = 0x0, 0x1, 0x0E
LIBRARIES = ("/usr/lib/libSystem.B.dylib", "/usr/lib/libiconv.2.dylib", "/usr/lib/libcharset.1.dylib",
             "/System/Library/Frameworks/")


def commands(data):
    count = struct.unpack_from("<I", data, 16)[0]
    at = 32
    for _ in range(count):
        command, size = struct.unpack_from("<II", data, at)
        yield command, data[at:at + size]
        at += size


def c_string(data, at):
    return data[at:data.index(b"\0", at)].decode()


def imports(data, symtab):
    symbols, count, strings = struct.unpack_from("<III", symtab, 8)
    for index in range(count):
        name, kind, _, _, _ = struct.unpack_from("<IBBHQ", data, symbols + 16 * index)
        if kind & KIND == UNDEFINED and kind & EXTERNAL:
            yield c_string(data, strings + name)


def problems(data, wanted):
    if struct.unpack_from("<II", data) != (MAGIC_64, ARM64):
        return ["no 64-bit Mach-O file for arm64"]
    found = []
    if struct.unpack_from("<I", data, 12)[0] != EXECUTE:
        found.append("no executable")
    libraries, symbols, signed, platform = [], set(), False, None
    for command, body in commands(data):
        if command in (LOAD_DYLIB, LOAD_WEAK_DYLIB):
            libraries.append(c_string(body, struct.unpack_from("<I", body, 8)[0]))
        elif command == SYMTAB:
            symbols.update(imports(data, body))
        elif command == CODE_SIGNATURE:
            signed = True
        elif command == BUILD_VERSION:
            platform = struct.unpack_from("<I", body, 8)[0]
    if platform != MACOS:
        found.append(f"for platform {platform} and not for macOS")
    if not signed:
        found.append("not signed")
    found += [f"needs {library}" for library in libraries if not library.startswith(LIBRARIES)]
    found += [f"does not import {symbol}" for symbol in wanted if symbol not in symbols]
    return found


def main():
    path, *wanted = sys.argv[1:]
    with open(path, "rb") as file:
        found = problems(file.read(), wanted)
    for problem in found:
        print(f"{path}: {problem}", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
