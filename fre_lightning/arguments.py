"""Arguments as users type them, in the spelling that Hydra's grammar takes as they were meant."""

import itertools
import os
import re
import shlex
import sys
from functools import partial
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Quote, QuotedString, Sweep
from hydra.errors import HydraException

from fre_lightning.errors import ConfigError

_PATHS = re.compile(
    r"\+*(dataset\.(root|roi|table|(good|mask|image)_dir|defect_dirs)|input|roi|checkpoint|ckpt_path|images"
    r"|good|defective"
    r"|model\.(.+\.)?weights|classifier\.(file|weights)|paths\..+|hydra\.(run|sweep)\.dir)"
)
_WORDS = re.compile(
    r"\+*(dataset\.(category|path|label|good_labels|split|mask)|tags|tune\.candidates)"
)
_NEVER_NULL = re.compile(r"\+*(dataset\.root|input|good|paths\..+)")
_MAKE_SWEEPS = re.compile(r"\+*(experiment|hydra[./](mode|sweeper).*)=")
_ITEMS = re.compile(r"""('(\\.|[^'\\])*'|"(\\.|[^"\\])*"|(\\,|[^,])*)(,|$)""")


def mend_arguments() -> None:
    """Rewrite `sys.argv` so that folders, files and free words may have any name.

    Raises:
        ConfigError: If Hydra could not read an argument; it has the one to type instead.
    """
    options, _ = get_args_parser().parse_known_args()
    if options.shell_completion:
        return
    typed = options.overrides
    may_sweep = options.multirun or any(map(_MAKE_SWEEPS.match, typed))
    for i, argument in enumerate(typed):
        mended = mend(argument)
        value = _parse(mended)
        if isinstance(value, HydraException):
            raise ConfigError(_advice(typed[: i + 1], typed[i + 1 :]))
        if isinstance(value, Sweep | Glob) and not may_sweep:
            one = _quoted_argument(argument)
            msg = (
                f"{argument} has several values. Type {one} for one name, or [] around them for a "
                "list, or -m before them for a run with each."
            )
            raise ConfigError(msg)
        sys.argv[sys.argv.index(argument, 1)] = mended


def mend(argument: str) -> str:
    """Quote the value of an argument whose key takes a name, unless Hydra reads it as that name.

    A `~` becomes the home folder: shells leave it alone behind a `=`. Lists and sweeps are mended
    item by item.
    """
    key, _, text = argument.partition("=")
    is_path = bool(_PATHS.fullmatch(key))
    if not text or not (is_path or _WORDS.fullmatch(key)):
        return argument
    value = _parse(argument)
    if value == text or _is_structure(value):
        return argument
    if is_path and os.path.lexists(_expand(text)):  # also a name with commas, or in brackets
        return f"{key}={_quote(_expand(text))}"
    word = partial(_mend_word, is_path=is_path, nullable=not _NEVER_NULL.fullmatch(key))
    if text[0] + text[-1] == "[]" and not isinstance(value, ChoiceSweep):
        return f"{key}=[{_mend_items(text[1:-1], word)}]"
    return f"{key}={_mend_items(text, word)}"


def _mend_items(text: str, word: partial[str]) -> str:
    """The words between the commas that stand outside quotes."""
    return _ITEMS.sub(lambda match: word(match[1]) + match[5], text)


def _mend_word(text: str, *, is_path: bool, nullable: bool) -> str:
    text = text.strip()
    value = _parse(f"x={text}")
    if isinstance(value, str):
        return _quote(_expand(value)) if is_path and value[:1] == "~" else text
    if value is None and nullable:
        return text
    return _quote(_expand(text) if is_path else text)


def _is_structure(value: Any) -> bool:
    """Whether a value is a dictionary, a call such as `choice(1,2)`, or a sweep over such."""
    if isinstance(value, ChoiceSweep) and value.simple_form:
        value = value.list
    elif isinstance(value, Sweep | Glob | dict):
        return True
    return isinstance(value, list) and any(isinstance(item, list | dict) for item in value)


def _parse(argument: str) -> Any:
    """The value of an argument as Hydra reads it, or its exception."""
    try:
        return OverridesParser.create().parse_override(argument).value()
    except HydraException as error:
        return error


def _expand(text: str) -> str:
    return os.path.expanduser(text)  # noqa: PTH111 - stays a string: Path drops a leading ./


def _quote(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()


def _quoted_argument(argument: str) -> str:
    """An argument whose value is text, with the quotes that Hydra and the shell need."""
    key, _, text = argument.partition("=")
    argument = f"{key}={_quote(text)}"
    return shlex.quote(argument) if re.search(r'[$`"\\!]', argument) else f'"{argument}"'


def _advice(typed: list[str], rest: list[str]) -> str:
    """What to type instead of the last argument."""
    *before, wrong = typed
    if before and "=" in before[-1] and "=" not in wrong:  # an unquoted space
        words = itertools.takewhile(lambda word: "=" not in word, rest)
        joined = " ".join([before[-1], wrong, *words])
        return (
            f"{wrong} is not a setting. A name with spaces needs quotes: {_quoted_argument(joined)}"
        )
    key, equals, text = wrong.partition("=")
    if not equals or isinstance(_parse(f"{key}={_quote(text)}"), HydraException):
        return f"{wrong} is not a setting: type key=value; --help lists the keys."
    return f"{wrong} cannot be read. If its value is text, type {_quoted_argument(wrong)}"
