"""Translations: from the .po text that people write to the binary catalogue that Python's gettext reads."""

import ast
import struct
from typing import NamedTuple

MAGIC = 0x950412DE
KEYWORDS = ("msgctxt", "msgid_plural", "msgid", "msgstr")


class TranslationError(Exception):
    """A .po file that cannot be read; the message names file and line."""


class Entry(NamedTuple):
    """One message: its key as gettext looks it up, and its translation(s)."""

    key: str
    text: str
    is_fuzzy: bool


def po_entries(source: str, name: str = "po") -> list[Entry]:
    """Return the messages of a .po file in order, the header first.

    >>> po_entries('msgctxt "gate"\\nmsgid "a"\\nmsgstr "b"\\n')
    [Entry(key='gate\\x04a', text='b', is_fuzzy=False)]
    """
    entries, parts, fuzzy, field = [], dict[str, str](), False, ""
    for number, line in enumerate([*source.splitlines(), ""], 1):
        text = line.strip()
        if text.startswith("#"):
            if parts:
                entries.append(_entry(parts, fuzzy))
                parts, fuzzy = {}, False
            fuzzy = fuzzy or (text.startswith("#,") and "fuzzy" in text)
        elif not text:
            if parts:
                entries.append(_entry(parts, fuzzy))
            parts, fuzzy = {}, False
        else:
            field, words = _split(text, field, f"{name}:{number}")
            if field in ("msgid", "msgctxt") and field in parts and not text.startswith('"'):
                entries.append(_entry(parts, fuzzy))
                parts, fuzzy = {}, False
            parts[field] = parts.get(field, "") + words
    return entries


def _split(text: str, field: str, where: str) -> tuple[str, str]:
    if not text.startswith('"'):
        field, _, text = text.partition(" ")
    if field.split("[")[0] not in KEYWORDS:
        raise TranslationError(f"{where}: expected msgid or msgstr, found {field!r}")
    try:
        return field, ast.literal_eval(text.strip())
    except (SyntaxError, ValueError) as error:
        raise TranslationError(f"{where}: the text is not a closed quotation") from error


def _entry(parts: dict[str, str], fuzzy: bool) -> Entry:
    key = parts.get("msgid", "")
    if "msgid_plural" in parts:
        key += "\0" + parts["msgid_plural"]
    if "msgctxt" in parts:
        key = parts["msgctxt"] + "\x04" + key
    forms = [parts[name] for name in sorted(parts) if name.startswith("msgstr")]
    return Entry(key, "\0".join(forms), fuzzy)


def mo_bytes(entries: list[Entry]) -> bytes:
    """Return the binary catalogue: two tables of lengths and offsets, then the texts, sorted by key."""
    kept = sorted((entry.key.encode(), entry.text.encode()) for entry in entries if entry.text and not entry.is_fuzzy)
    first_key, first_text = 28, 28 + 8 * len(kept)
    offset = first_text + 8 * len(kept)
    tables: tuple[list[int], list[int]] = ([], [])
    body = b""
    for column, table in enumerate(tables):
        for pair in kept:
            table += [len(pair[column]), offset + len(body)]
            body += pair[column] + b"\0"
    head = struct.pack("<7I", MAGIC, 0, len(kept), first_key, first_text, 0, offset)
    return head + struct.pack(f"<{4 * len(kept)}I", *tables[0], *tables[1]) + body
