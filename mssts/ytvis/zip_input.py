"""Reads the one file in a zip that a user brings."""

from __future__ import annotations

import io
import stat
import zipfile

from mssts.core.errors import InputError
from mssts.ytvis.json_input import shown

_MAX_RATIO, _ALWAYS_ALLOWED = 200, 2**28  # JSON of masks is packed to a third to a tenth


def unzipped(content: bytes, member: str, source: str) -> bytes:
    """The content of the only member of a zip.

    Args:
        content: The zip.
        member: Name that the member must have.
        source: Name of the zip, for messages.

    Raises:
        InputError: If the zip holds anything else, is encrypted or damaged, or would unpack to far more than its size.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            problem = _problem(archive.infolist(), member, len(content))
            if problem is None:
                size = archive.getinfo(member).file_size
                with archive.open(member) as file:
                    unpacked = file.read(size + 1)  # with a limit: it may be longer than the zip says
                if len(unpacked) == size:
                    return unpacked
                problem = f"damaged zip: {member} unpacks to {len(unpacked)} bytes instead of {size}"
    except Exception as error:  # zipfile raises errors of ten types, depending on the place of the damage
        raise InputError(f"{source}: damaged zip: {str(error) or 'it ends too early'}; zip {member} again") from None
    raise InputError(f"{source}: {problem}; zip {member} again")


def _problem(members: list[zipfile.ZipInfo], member: str, size: int) -> str | None:
    """Message about a zip of `size` bytes with these members; None if the member can be read."""
    names = [one.filename for one in members]
    if names != [member]:
        return f"the zip holds {shown(names, 200)}, expected {member} at its root and nothing else"
    [found] = members
    mode = stat.S_IFMT(found.external_attr >> 16)
    if mode not in (0, stat.S_IFREG):
        return f"{member} in the zip is not a regular file"
    if found.header_offset:
        return f"{member} is not at the beginning of the zip"
    if found.flag_bits & 1:
        return f"{member} in the zip is encrypted"
    if found.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"{member} in the zip is not packed with deflate"
    if found.file_size > max(_MAX_RATIO * min(found.compress_size, size), _ALWAYS_ALLOWED):
        return f"{member} in the zip would unpack to {found.file_size} bytes, more than {_MAX_RATIO} times its size"
    return None
