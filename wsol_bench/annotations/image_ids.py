"""Which strings may name an image: paths that stay under the dataset root, on every operating system."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def id_problem(image_id: str) -> str | None:
    """Says why a string cannot be an image id or a mask path, or returns None when it can.

    An id is a path relative to the dataset root, with forward slashes. It may hold spaces and commas. Ids come from
    files that somebody else wrote, so nothing that could leave the root is accepted: absolute paths, ``..``, drive
    letters, backslashes (separators on Windows) and control characters.
    """
    if not image_id or image_id.isspace():
        return "it is empty"
    if not image_id.isprintable() and _CONTROL.search(image_id):
        return "it holds a control character"
    if "\\" in image_id:
        return "it holds a backslash (write '/' between folders)"
    if image_id[0] == "/":
        return "it is an absolute path"
    if image_id[1:2] == ":":
        return "it starts with a drive letter"
    if ".." in image_id and ".." in image_id.split("/"):
        return "it climbs out of the dataset root with '..'"
    return None
