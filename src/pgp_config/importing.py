"""`module:attribute`, as people name a thing of their code; an import that fails is told without a value."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from pathlib import Path

from pgp_config.errors import DeclarationError, PgpConfigError

#: A dotted module and a dotted attribute.
_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

_WRITE = "Write module:attribute, and run it where the module can be imported (the working folder or PYTHONPATH)."


def imported(path: str) -> object:
    """The object of that name.

    Raises:
        DeclarationError: If it cannot be had. The text names what is of that form only: anything else that was given
            may be a value. Of what a module raised it shows the type and the place, and the text where that can be
            names alone.
    """
    if not is_path(path):
        raise DeclarationError("what was given is no module:attribute", remedy=_WRITE)
    module, _, attribute = path.partition(":")
    try:
        found: object = importlib.import_module(module)
    except Exception as fault:  # noqa: BLE001  a module may raise anything
        happened = f"importing {module} raised {cause_of(fault)}"
    except SystemExit:
        happened = f"importing {module} ended the program: it calls sys.exit()"
    else:
        return _attribute_of(found, path, attribute)
    # Raised here: the module's exception keeps its frames, and their locals may be values.
    raise DeclarationError(f"{path} cannot be imported: {happened}", remedy=_WRITE)


def is_path(path: str) -> bool:
    """Whether it is of the form module:attribute."""
    return _PATH.fullmatch(path) is not None


def _attribute_of(found: object, path: str, attribute: str) -> object:
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            break
        except Exception as fault:  # noqa: BLE001  a module's __getattr__ may raise anything
            happened = f"it has {name}, which raised {cause_of(fault)}"
            raise DeclarationError(f"{path} cannot be had: {happened}", remedy=_WRITE) from None
    else:
        return found
    raise DeclarationError(f"{path} cannot be had: there is no {name} in it", remedy=_WRITE)


def from_working_folder() -> None:
    """Let modules of the working folder be imported, as gunicorn and uvicorn do."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def cause_of(fault: BaseException) -> str:
    """What was raised, and where, without a value.

    The text of an exception is shown where it consists of names, as Python makes it; that of any other may hold what
    a module has read, such as `invalid literal for int() with base 10: 'the value'`.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(fault.__traceback__, limit=None)
        if not frame.filename.startswith("<frozen") and frame.filename != __file__
    ]
    # This function and importlib are not what the reader looks for.
    frames = [f for f in frames if not f.filename.endswith("importlib/__init__.py")]
    text = f"{type(fault).__name__}{_safe_text_of(fault)}"
    if isinstance(fault, SyntaxError) and fault.filename:
        return f"{text} at {fault.filename}:{fault.lineno}"
    return f"{text} at {frames[-1].filename}:{frames[-1].lineno}" if frames else text


def _safe_text_of(fault: BaseException) -> str:
    if isinstance(fault, PgpConfigError):  # these promise it
        return f" ({fault})"
    if isinstance(fault, ImportError) and fault.name:
        return f" ({fault.name})"
    if isinstance(fault, NameError | AttributeError) and fault.name:
        return f" ({fault.name})"
    return ""
