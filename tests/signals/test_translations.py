"""Every word a person reads has its Chinese, and the compiled catalogue says what the .po file says."""

import ast
import re
from collections.abc import Iterator
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path

import pytest
from django.utils.translation.template import templatize

from signals.management.commands.compile_translations import compile_folder
from signals.translations import TranslationError, mo_bytes, po_entries

PROJECT = Path(__file__).resolve().parents[2]
CATALOGUE = PROJECT / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
APPS = ("marketdata", "modeling", "signals", "backtests", "surge_site")
CALLS = {"_": 0, "gettext": 0, "gettext_lazy": 0, "gettext_noop": 0, "pgettext": 1, "pgettext_lazy": 1, "ngettext": 1}
TEMPLATE_CALL = re.compile(r"""\b(?:gettext|_)\(u?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\)""")
DJANGO_TRANSLATES = {"English", "Simplified Chinese"}


def words_of_python(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in CALLS:
            continue
        texts = [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        if node.func.id == "ngettext":
            yield "\0".join(texts[:2])
        elif len(texts) > CALLS[node.func.id]:
            yield "\x04".join(texts[: CALLS[node.func.id] + 1])


def words_of_template(source: str) -> Iterator[str]:
    for found in re.finditer(
        r"\b(?:gettext|_)\(u?((?:'(?:[^'\\]|\\.)*')|(?:\"(?:[^\"\\]|\\.)*\"))\)", templatize(source)
    ):
        yield ast.literal_eval(found[1])


def words() -> dict[str, str]:
    """Return every translatable text with a place where it stands."""
    found = {}
    for app in APPS:
        for path in sorted((PROJECT / app).rglob("*.py")):
            found |= dict.fromkeys(words_of_python(path.read_text(encoding="utf-8")), str(path.relative_to(PROJECT)))
    for path in sorted((PROJECT / "templates").rglob("*.html")):
        found |= dict.fromkeys(words_of_template(path.read_text(encoding="utf-8")), str(path.relative_to(PROJECT)))
    return found


def test_every_word_has_its_chinese() -> None:
    translated = {entry.key: entry.text for entry in po_entries(CATALOGUE.read_text(encoding="utf-8"))}
    found = words()
    assert len(found) > 100, "the search for words is broken: it finds next to none"
    missing = {key: place for key, place in found.items() if not translated.get(key) and key not in DJANGO_TRANSLATES}
    assert not missing, f"add these to {CATALOGUE.relative_to(PROJECT)}"


def test_no_translation_is_left_over() -> None:
    found = words()
    extra = [
        entry.key for entry in po_entries(CATALOGUE.read_text(encoding="utf-8")) if entry.key and entry.key not in found
    ]
    assert not extra, "nobody says these any more: remove them"


def test_placeholders_survive_translation() -> None:
    for entry in po_entries(CATALOGUE.read_text(encoding="utf-8")):
        if entry.key:
            english = entry.key.split("\0")[-1]
            held = [sorted(re.findall(r"%\(\w+\)s|%d|\{\w+\}|<[^>]+>", text)) for text in (english, entry.text)]
            assert held[0] == held[1], entry.key


def test_the_compiled_catalogue_is_read_by_gettext() -> None:
    source = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\nmsgid "coin"\nmsgstr "币"\n\n'
    source += 'msgctxt "gate"\nmsgid "coin"\nmsgstr "门"\n\nmsgid "long "\n"text"\nmsgstr ""\n"长"\n"文"\n'
    catalogue = GNUTranslations(BytesIO(mo_bytes(po_entries(source))))
    assert catalogue.gettext("coin") == "币"
    assert catalogue.pgettext("gate", "coin") == "门"
    assert catalogue.gettext("long text") == "长文"
    assert catalogue.gettext("unknown") == "unknown"


def test_fuzzy_and_empty_translations_stay_english() -> None:
    source = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    source += '#, fuzzy\nmsgid "a"\nmsgstr "甲"\n\nmsgid "b"\nmsgstr ""\n\nmsgid "c"\nmsgstr "丙"\n'
    catalogue = GNUTranslations(BytesIO(mo_bytes(po_entries(source))))
    assert [catalogue.gettext(text) for text in "abc"] == ["a", "b", "丙"]


@pytest.mark.parametrize("source", ['msgid "open', 'mgsid "a"', "msgid a"])
def test_a_broken_file_names_its_line(source: str) -> None:
    with pytest.raises(TranslationError, match="django.po:2"):
        po_entries(f"# head\n{source}\n", "django.po")


def test_only_what_changed_is_compiled(tmp_path: Path) -> None:
    folder = tmp_path / "zh_Hans" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "django.po").write_text('msgid "a"\nmsgstr "b"\n', encoding="utf-8")
    assert [path.name for path in compile_folder(tmp_path)] == ["django.mo"]
    assert list(compile_folder(tmp_path)) == []
    assert len(list(compile_folder(tmp_path, force=True))) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["django.mo", "django.po"]
