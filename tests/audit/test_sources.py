"""What programs do with secrets by hand, found in their sources; and what looks like it and is not."""

import textwrap
from pathlib import Path

import pytest

from pgp_config.audit import RULES, Names, audit_sources
from pgp_config.audit import files as files_module

ROOT = Path(__file__).parents[2]
NAMES = Names(
    dynamic=frozenset({"API_KEY", "FEE", "PEER_URL"}),
    static=frozenset({"SIGNING_KEY"}),
    confidential=frozenset({"API_KEY", "SIGNING_KEY"}),
    strict=True,
)
HEX = "0123456789abcdef" * 4
PEM = "-----BEGIN RSA PRIVATE KEY-----\\nMIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn\\n"


@pytest.fixture
def found(tmp_path):
    """The rules and lines that files break; texts in the order of their names."""

    def look(others=None, /, **files):
        for name, text in (others or {}).items() | files.items():
            path = tmp_path / f"{name.replace('__', '/') if name in files else name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        findings = audit_sources([tmp_path], NAMES).findings
        for finding in findings:
            assert HEX not in str(finding)
            assert finding.rule in RULES
        return [(each.place.rpartition("/")[2], each.rule) for each in findings]

    return look


def test_our_own_sources_are_clean():
    assert audit_sources([ROOT / "src", ROOT / "adapters", ROOT / "benchmarks"]).findings == []


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.getenv('API_KEY')",
        "import os\nos.environ['API_KEY']",
        "import os\nos.environ.get('API_KEY', 'x')",
        "import os\nos.getenv(key='API_KEY')",
        "import os as o\no.environ.get('API_KEY')",
        "from os import environ, getenv\nenviron['API_KEY']",
        "from os import getenv as g\ng('API_KEY')",
        "import os\nos.environ.pop('SIGNING_KEY')",
        "import os; N = 'API_KEY'\nos.getenv(N)",
        "import os; N = 'KEY'\nos.getenv(f'API_{N}')",
        "import os; N = 'KEY'\nos.getenv('API_' + N)",
        "import os; e = os.environ\ne['API_KEY']",
        "import os; e = os.environ.get; e: int\ne('API_KEY')",
        "class C: N: str = 'API_KEY'\nimport os; os.getenv(C.N)",
        "A, B.x = 'API_KEY', 1\nimport os; os.getenv(A)",
        "import os\n{n: os.environ[n] for n in ('FEE_', 'API_KEY')}",
        "import os; NAMES = ['API_KEY']\n[os.getenv(n) for n in NAMES]",
        "import os; NAMES = {'API_KEY': call()}\n[os.getenv(n) for n in NAMES]",
        "import os\nfor n in {'API_KEY'}: os.environ.get(n)",
        "import os\nclass C: K = 'API_KEY'; f = lambda self: os.getenv(self.K)",
        "import os\ndict(os.environ)['API_KEY']",
        "import os\ndict(**os.environ).get('API_KEY')",
        "import os\nos.environ.copy()['API_KEY']",
        "import os; e = os.environ.copy()\ne['API_KEY']",
        "import os; e = dict(os.environ)\ne.get('API_KEY')",
        "import os\nos.environb[b'API_KEY']",
        "from os import *\ngetenv('API_KEY')",
        "from os import *\nenviron['API_KEY']",
        "def read(name): import os; return os.environ[name]\nread('API_KEY')",
        "def read(x, /, name): import os; return os.environ[name]\nread(1, name='API_KEY')",
    ],
)
def test_reads_of_the_environment(found, source):
    assert found(a=source) == [("a.py:2", "env-read")]


def test_methods_that_read_a_parameter(found):
    source = """
        import os
        class C:
            def read(self, name):
                return os.getenv(name)
            def all(self):
                return self.read("SIGNING_KEY"), self.read("HOME"), other.read("x"), self.read()
    """
    assert found(a=source) == [("a.py:7", "env-read")]


@pytest.mark.parametrize(
    "read",
    [
        "os.environ[name()]",
        "[os.environ[n] for n in names()]",
        "os.getenv(self.KEY)",
        "lambda n: os.getenv(n)",
        "dict(os.environ)[n]",
    ],
)
def test_a_read_of_what_cannot_be_told_is_a_finding_where_there_is_a_container(found, read):
    source = f"import os\n{read}"
    assert found(s__container=USED, s__app=source, other=source) == [("app.py:2", "env-unknown")]


def test_a_folder_without_a_python_file_is_told(tmp_path):
    (tmp_path / "README.md").write_text("")
    assert audit_sources([tmp_path], NAMES).empty == [tmp_path.as_posix()]


def test_digits_of_a_digest_are_no_key_unless_the_name_says_key_too(found):
    source = f"""
        IMAGE_SHA256 = "{HEX}"
        call(digest="{HEX}")
        call({{"checksum": "{HEX}"}})
        HASH_KEY = "{HEX}"
        private_key = call(digest="{HEX}")
        EXPECTED = "{HEX}"
    """
    assert found(a=source) == [(f"a.py:{line}", "hard-coded-hex-key") for line in (5, 6, 7)]


USED = """
    from pgp_config import DynamicSecret, SecretContainer
    class Service(SecretContainer):
        fee = DynamicSecret("FEE")
        handler = Handler(fee)
"""


@pytest.mark.parametrize(
    "source",
    [
        "import os; os.getenv('HOME')",
        "x = other.copy()\nx['API_KEY']\ndict(other)['API_KEY']\ncall()['API_KEY']",
        "import os\nos.environ['API_KEY'] = 'x'[0:0]",
        "import os\nos.getenv('HOME')\nos.getenv()",
        "import os\nos.getenv(name())\nos.getenv(f'{1!r}')\nos.getenv(f'{x:>3}')",
        "N = N\nimport os\nos.getenv(N)",
        "A = B.c\nB = A.c\nimport os\nos.getenv(A.x)",
        "import other\nother.getenv('API_KEY')\nother.environ['API_KEY']",
        "'''os.getenv of API_KEY'''",
        "settings['API_KEY']",
    ],
)
def test_what_is_no_read_of_a_secret(found, source):
    assert found(a=source) == []


def test_names_are_followed_into_other_modules(found):
    read = "\nos.getenv({})"
    assert found(
        {
            "pkg/__init__": "",
            "pkg/names": "KEY = 'API_KEY'\nclass Names:\n    KEY = 'API_KEY'\n",
            "pkg/one": "import os\nfrom pkg.names import KEY" + read.format("KEY"),
            "pkg/two": "import os\nfrom . import names" + read.format("names.KEY"),
            "pkg/three": "import os\nimport pkg.names" + read.format("pkg.names.Names.KEY"),
            "pkg/four": "import os\nfrom .names import Names as N" + read.format("N.KEY"),
            "pkg/five": "import os\nfrom .names import MISSING" + read.format("MISSING"),
            "pkg/sub/__init__": "import os\nfrom ..names import KEY as K" + read.format("K"),
        }
    ) == [
        ("four.py:3", "env-read"),
        ("one.py:3", "env-read"),
        ("__init__.py:3", "env-read"),
        ("three.py:3", "env-read"),
        ("two.py:3", "env-read"),
    ]


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        (f"x = '{PEM}'", "hard-coded-private-key"),
        (f"call(b'0x{HEX}')", "hard-coded-hex-key"),
        (f"x = f'{HEX}' + y", "hard-coded-hex-key"),
        (f"call('123456789:{'a' * 35}')", "hard-coded-bot-token"),
        ("call('ABCDEF1-ABCDEF2-ABCDEF3-ABCDEF4')", "hard-coded-api-key"),
        (
            "x = 'https://hooks.slack.com/services/T0AB/B0CD/abcdefghij0123456789'",
            "hard-coded-webhook",
        ),
        (
            "x = 'https://eth-mainnet.g.alchemy.com/v2/abcdefghij0123456789abcd'",
            "hard-coded-url-key",
        ),
        (
            "x = 'https://mainnet.infura.io/v3/0123456789abcdef0123456789abcdef'",
            "hard-coded-url-key",
        ),
        ("x = 'https://a.example/?api_key=abcdefghij0123456789abcd'", "hard-coded-url-key"),
        ("api_key = 'k'", "hard-coded-value"),
        ("call(signing_key='k')", "hard-coded-value"),
        ("FEE = 3", "hard-coded-value"),
        ("FEE: float = 3.5", "hard-coded-value"),
        ("self.API_KEY = 'k'", "hard-coded-value"),
        ("call(API_KEY=b'k')", "hard-coded-value"),
        ("call({'API_KEY': 'k'})", "hard-coded-value"),
        ("def f(FEE='3'): ...", "hard-coded-value"),
        ("def f(a, *, b, FEE='3'): ...", "hard-coded-value"),
        ("PEER_URL = 'https://peer.example'", "hard-coded-value"),
        ("mapping['API_KEY'] = 'k'", "hard-coded-value"),
        ("os.putenv('API_KEY', 'k')", "hard-coded-value"),
        ("mapping.setdefault('API_KEY', 'k')", "hard-coded-value"),
        ("SPLIT_URL = 'https://pgp-split1-v1-abc.a.run.app'", "hard-coded-url"),
        ("call(base_url='https://x.run.app/')", "hard-coded-url"),
    ],
)
def test_values_in_the_source(found, source, rule):
    assert found(a=source) == [("a.py:1", rule)]


@pytest.mark.parametrize(
    "source",
    [
        f"x = 'sha256:{HEX}'",
        f"x = '{'0' * 64}'",
        f"x = '{HEX}0'",
        "x = '-----BEGIN RSA PRIVATE KEY-----'",
        "API_KEY = 'API_KEY'",
        "API_KEY = ''",
        "api_key = 'api_key'",
        "fee = '3'",
        "x = 'https://api.example/v2/a-path-that-is-long-and-has-words'",
        "FEE = True",
        "FEE = None",
        "mapping[FEE] = '3'",
        "mapping[0] = '3'",
        "mapping['fee'] = '3'",
        "mapping.setdefault('API_KEY')",
        "mapping.setdefault(name, '3')",
        "monkeypatch.setenv('API_KEY', 'k')",
        "FEE = call()",
        "call({'FEE': '3', **other, 1: 2})",
        "API = 'https://api.example'",
        "SOME_URL = 'http://x.run.app'",
        "SOME_URL = 'https://[x.run.app'",
        "a, b = 1, 2",
    ],
)
def test_what_is_no_value(found, source):
    assert found(a=source) == []


def test_the_escape_needs_a_reason(found):
    source = f"""
        x = '{HEX}'  # pgp-config: allow the hash of an empty tree
        y = '{HEX}'  # pgp-config: allow
        z = call(  # pgp-config: allow it is long
            '{HEX}',
        )
        w = (
            '{HEX}'
        )  # pgp-config: allow on another line
    """
    assert found(a=source) == [
        ("a.py:3", "hard-coded-hex-key"),
        ("a.py:4", "unused-allow"),
        ("a.py:5", "hard-coded-hex-key"),
        ("a.py:8", "hard-coded-hex-key"),
        ("a.py:9", "unused-allow"),
    ]


CONTAINER = """
    from pgp_config import DynamicSecret, KeyRing, SecretContainer, StaticSecret
    class Base(SecretContainer):
        fee = DynamicSecret("FEE")
    class Service(Base):
        api_key = DynamicSecret(name="API_KEY")
        signing_key = StaticSecret("SIGNING_KEY")
        client = providers.Singleton(Client, api_key)
        handler = providers.Singleton(Handler, fee=Base.fee)
"""


def test_declared_and_unused(found):
    assert found(s__container=CONTAINER) == [("container.py:7", "unused")]


@pytest.mark.parametrize(
    "use", ["secrets.signing_key()", "getattr(secrets, 'signing_key')", "Provide['signing_key']"]
)
def test_a_use_beside_the_container_counts(found, use):
    assert found(s__container=CONTAINER, s__app=use) == []


def test_used_and_undeclared(found):
    assert found(
        s__container=CONTAINER,
        s__app="secrets.signing_key()\nread('PEER_URL')\nsecrets.peer_url()\ncatalogue.PEER_URL\n",
        s__deeper__more="'''PEER_URL'''\nx = 'PEER_URL'",
        shared="x = 'PEER_URL'",
    ) == [
        ("app.py:2", "undeclared"),
        ("app.py:3", "undeclared"),
        ("app.py:4", "undeclared"),
        ("more.py:2", "undeclared"),
    ]


@pytest.mark.parametrize("lines", ["import container\n", "from container import Service\n"])
def test_a_container_that_a_module_imports_is_its_own_too(audited, lines):
    files = {
        "one__container": CONTAINER.replace("signing_key = ", "signing_key = used = "),
        "two__other": "class Two(SecretContainer):\n    key = DynamicSecret('KEY_TWO')\n    x = C(key)\n",
    }
    assert "undeclared" not in {
        rule for _, rule in rules(audited(**files, two__app=f"{lines}x = 'SIGNING_KEY'\n"))
    }
    found = rules(audited(two__app="x = 'SIGNING_KEY'\n"))
    assert ("app.py:1", "undeclared") in found


def test_rows_of_a_catalogue_are_declarations(found):
    container = """
        import catalogue
        from catalogue import FEE
        class Service(fleet.Fleet, Generic[T], Service):
            key = catalogue.API_KEY.secret()
            ring = catalogue.SIGNING_KEY.key_ring()
            fee = FEE.secret()
            other = catalogue.OTHER.secret()
            plain = catalogue.plain()
            x = Client(key, ring)
        class Nothing:
            y = 1
    """
    assert found(s__container=container) == [("container.py:7", "unused")]


def test_a_folder_with_services_below_is_none_itself(found):
    assert (
        found(
            pgp__alerts='class A(SecretContainer):\n    fee = DynamicSecret("FEE")\n    x = C(fee)\n',
            pgp__catalogue="x = 'PEER_URL'",
            pgp__web__container='class W(SecretContainer):\n    fee = DynamicSecret("FEE")\n    x = C(fee)\n',
        )
        == []
    )


def test_what_cannot_be_read_is_told_and_foreign_folders_are_left_out(found, tmp_path):
    (tmp_path / "latin.py").write_bytes(b"API_KEY = '\xff'")
    assert found(a="def API_KEY(", venv__lib="import os\nos.getenv('API_KEY')", empty="") == [
        ("a.py", "unreadable"),
        ("latin.py", "unreadable"),
    ]


def test_files_here_are_shown_from_here(found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("import os\nos.getenv('FEE')\n")
    assert audit_sources([Path("a.py")], NAMES).findings[0].place == "a.py:2"


def test_what_a_base_elsewhere_declares_is_used_by_those_who_derive_from_it(found):
    base = "class B(SecretContainer):\n    fee = DynamicSecret('FEE')\n"
    use = "class S(B):\n    handler = providers.Singleton(Handler, B.fee)\n"
    assert found(shared__base=base, s__container=use) == []
    assert found(shared__base=base, s__container="class S(B): pass") == [("base.py:2", "unused")]


def test_classes_of_one_name_make_no_endless_circle(found):
    assert (
        found(
            one="class A(B):\n    fee = DynamicSecret('FEE')\n    x = C(fee)\n",
            two="class B(A): ...",
        )
        == []
    )


# -- what is known without being told ----------------------------------------------------------


@pytest.fixture
def audited(tmp_path):
    """The audit of files that declare what they use, without any name given."""

    def look(names=Names(frozenset()), **files):  # noqa: B008  a frozen constant
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return audit_sources([tmp_path], names)

    return look


def rules(audit):
    return [(each.place.rpartition("/")[2], each.rule) for each in audit.findings]


DECLARED = """
    from typing import Annotated
    from pydantic import SecretStr
    from pgp_config import DynamicSecret, KeyRing, SecretContainer, StaticSecret
    Key = Annotated[SecretStr, 1]
    class Service(SecretContainer):
        api_key = DynamicSecret("API_KEY", Key)
        ring = KeyRing("WEBHOOK_KEY")
        signing = StaticSecret("SIGNING_KEY")
        fee = DynamicSecret("FLAT_FEE", float)
        client = Client(api_key, ring, signing, fee)
    unnamed = DynamicSecret(name_of())
    secrets = Service(source=source)
"""


def test_names_and_classes_are_taken_from_the_sources(audited):
    audit = audited(container=DECLARED)
    assert audit.findings == []
    assert audit.names.dynamic == {"API_KEY", "WEBHOOK_KEY", "FLAT_FEE"}
    assert audit.names.static == {"SIGNING_KEY"}
    assert audit.names.confidential == {"API_KEY", "WEBHOOK_KEY", "SIGNING_KEY"}
    assert (audit.containers, audit.files, audit.tests, audit.empty) == (["Service"], 1, 0, [])


def test_a_name_that_is_static_here_and_dynamic_there_is_held_to_the_stricter_rules(audited):
    other = "class Other(SecretContainer):\n    x = StaticSecret('API_KEY')\n    y = C(x)\n"
    audit = audited(one__container=DECLARED, two__container=other)
    assert audit.names.static == {"SIGNING_KEY"}


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("from container import secrets\nKEY = secrets.api_key()", 2),
        (
            "from container import secrets\nclient = Client(secrets.api_key().get_secret_value())",
            2,
        ),
        ("import container\nKEY = container.secrets.api_key()", 2),
        ("import container\nKEY = container.Service.api_key()", 2),
        ("from container import Service\ns = Service(source=x)\nKEY = s.ring()", 3),
        ("from container import secrets\ndef f(key=secrets.api_key()): ...", 2),
        ("from container import secrets\ndef f(*, a, key=secrets.api_key()): ...", 2),
        ("from container import secrets\nf = lambda key=secrets.api_key(): key", 2),
        ("from container import secrets\n@with_key(secrets.api_key())\ndef f(): ...", 2),
        ("from container import secrets\nclass C:\n    key = secrets.api_key()", 3),
        (
            "from container import secrets\ndef create():\n    return secrets.api_key()\ncreate()",
            3,
        ),
        ("from container import secrets\nif not TYPE:\n    KEY = secrets.api_key()", 3),
        ("from container import secrets\nwith open('x') as f:\n    KEY = secrets.api_key()", 3),
    ],
)
def test_a_dynamic_secret_that_is_read_while_a_module_is_imported(audited, source, line):
    audit = audited(container=DECLARED, app=source)
    assert rules(audit) == [(f"app.py:{line}", "import-read")]
    assert audit.findings[0].secret in {"API_KEY", "WEBHOOK_KEY"}


@pytest.mark.parametrize(
    "source",
    [
        "from container import secrets\ndef f():\n    return secrets.api_key()",
        "from container import secrets\nf = lambda: secrets.api_key()",
        "from container import secrets\nKEY = secrets.signing()",
        "from container import secrets\nKEY = secrets.api_key",
        "from container import secrets\nif __name__ == '__main__':\n    print(secrets.api_key())",
        "from container import secrets\nwith request_scope():\n    secrets.api_key()",
        "from typing import TYPE_CHECKING\nfrom container import secrets\nif TYPE_CHECKING:\n    secrets.api_key()",
        "from other import secrets\nKEY = secrets.api_key()",
        "from container import source\nKEY = source.api_key()",
        "from container import secrets\ndef g(): g()\ng()",
        "KEY = call().api_key()",
        "from container import secrets\nclass C:\n    def m(self):\n        return secrets.api_key()",
    ],
)
def test_what_is_no_read_at_import(audited, source):
    assert rules(audited(container=DECLARED, app=source)) == []


def test_the_function_that_reads_at_import_is_named(audited):
    source = "from container import secrets\ndef create():\n    return secrets.api_key()\napp = create()\n"
    (finding,) = audited(container=DECLARED, app=source).findings
    assert "while the module is imported, by create()" in finding.text


def test_a_container_that_evaluates_its_own_secret(audited):
    container = """
        class Service(SecretContainer):
            api_key = DynamicSecret("API_KEY")
            client = providers.Singleton(Client, key=api_key())
    """
    assert rules(audited(container=container)) == [("container.py:4", "import-read")]


# -- the environment, through others -----------------------------------------------------------


CONFIG = """
    import os
    class ConfigManager:
        def get(self, name, default=None):
            return os.getenv(name, default)
        def fetch_secret(self, name):
            return self.get(name)
    config_manager = ConfigManager()
    def read(name):
        return os.environ[name]
"""


@pytest.mark.parametrize(
    "source",
    [
        "from config import config_manager\nconfig_manager.get('API_KEY')",
        "from config import ConfigManager\nc = ConfigManager(); c.get('API_KEY')",
        "import config\nconfig.config_manager.get('API_KEY')",
        "from config import config_manager\nconfig_manager.fetch_secret('API_KEY')",
        "from config import read\nread('API_KEY')",
        "from config import read as r\nr(name='API_KEY')",
        "import config\nconfig.read('API_KEY')",
    ],
)
def test_a_config_manager_is_seen_through(audited, source):
    audit = audited(container=DECLARED, config=CONFIG, app=source)
    assert rules(audit) == [("app.py:2", "env-read")]


@pytest.mark.parametrize(
    "source",
    [
        "from config import config_manager\nconfig_manager.get('HOME')",
        "headers = {}\nheaders.get('API_KEY')",
        "from other import thing\nthing.get('API_KEY')",
        "def read(name): ...\nread('API_KEY')",
        "from elsewhere import read\nread('API_KEY')",
        "from config import read\nread()",
        "call().get('API_KEY')",
    ],
)
def test_what_is_called_like_a_helper_and_is_none(audited, source):
    assert rules(audited(container=DECLARED, config=CONFIG, app__x=source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "from decouple import config\nconfig('API_KEY')",
        "from environs import Env; env = Env()\nenv.str('API_KEY')",
        "import environ; env = environ.Env()\nenv('API_KEY')",
        "from starlette.config import Config; c = Config('.env')\nc('API_KEY')",
    ],
)
def test_libraries_that_read_the_environment(audited, source):
    assert rules(audited(container=DECLARED, app=source)) == [("app.py:2", "env-read")]


def test_fields_of_settings_classes(audited):
    source = """
        from pydantic_settings import BaseSettings, SettingsConfigDict
        class Plain(BaseSettings):
            api_key: str
            home: str
            x = 1
        class Prefixed(BaseSettings):
            model_config = SettingsConfigDict(extra="ignore", env_prefix="FLAT_")
            fee: float
            api_key: str
    """
    assert rules(audited(container=DECLARED, app=source)) == [
        ("app.py:4", "env-read"),
        ("app.py:9", "env-read"),
    ]


@pytest.mark.parametrize("name", ["STRIPE_API_KEY", "DB_PASSWORD", "SLACK_TOKEN"])
def test_a_name_that_says_secret_and_is_declared_by_none(audited, name):
    audit = audited(app=f"import os\nos.getenv('{name}')")
    assert rules(audit) == [("app.py:2", "env-secret")]
    assert audit.findings[0].secret == name


@pytest.mark.parametrize("name", ["PGP_CONFIG_TOKEN", "MAX_TOKENS", "TOKEN_URL", "PASSWORD_FILE"])
def test_a_name_that_only_has_such_a_word_in_it(audited, name):
    assert rules(audited(app=f"import os\nos.getenv('{name}')")) == []


def test_a_parameter_is_told_where_the_function_is_called(audited):
    app = "from config import read\nread(name())\ndef own(n):\n    return read(n)\nread(*names)\n"
    audit = audited(s__container=DECLARED, s__config=CONFIG, s__app=app)
    assert rules(audit) == [("app.py:2", "env-unknown"), ("app.py:5", "env-unknown")]


# -- literals ----------------------------------------------------------------------------------

RANDOM = "a8f3kd9201lmz0qpw47x"


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        (f"db_password = '{RANDOM}'", "hard-coded-secret"),
        (f"connect(password='{RANDOM}')", "hard-coded-secret"),
        ("x = 'AKIAABCDEFGHIJKLMNOP'", "hard-coded-token"),
        (f"x = 'ghp_{'a1' * 18}'", "hard-coded-token"),
        (f"x = 'sk_live_{'a1' * 10}'", "hard-coded-token"),
        (f"private_key = '0x{HEX}'", "hard-coded-hex-key"),
        (f"API_KEY = '{' '.join(['legal'] * 12)}'", "hard-coded-value"),
    ],
)
def test_values_that_nobody_declared(audited, source, rule):
    audit = audited(Names(frozenset(), confidential=frozenset({"API_KEY"})), a=source)
    assert rules(audit) == [("a.py:1", rule)]
    for canary in (RANDOM, HEX, "AKIA", "ghp_", "legal", "sk_live"):
        assert canary not in str(audit)


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ('DATABASE_URL = "postgresql://app:Canary3cretPass@db/prod"', "hard-coded-url-password"),
        ('x = connect("redis://:canary2canary2x9@cache:6379/0")', "hard-coded-url-password"),
        ('x = b"amqps://a.b+c:canary%40c%2F1@mq.internal"', "hard-coded-url-password"),
        (
            'x = "a user:password@ in prose, and https://a:canary-1@b.org"',
            "hard-coded-url-password",
        ),
        ('connect(password="canary2canary2")', "hard-coded-password"),
        ('connect(db_passwd="Canary.1")', "hard-coded-password"),
        ('Client(api_key="canary-9f41")', "hard-coded-password"),
        ('Client(apiKey="canary-9f41")', "hard-coded-password"),
        ('Client(client_secret="canary-9f41", token=token)', "hard-coded-password"),
        ('P = "canary2canary2"; connect(password=P)', "hard-coded-password"),
        ('{"Authorization": "Bearer CanaryQ2mLp8Rt4Zw1Bn7s"}', "hard-coded-bearer"),
        ('x = b"authorization: bearer canary.eyJhbGciOiJIUzI1NiJ9.e30"', "hard-coded-bearer"),
    ],
)
def test_a_password_or_a_token_that_a_person_may_have_made_up(audited, source, rule):
    audit = audited(a=source)
    assert rules(audit) == [("a.py:1", rule)]
    assert "canary" not in str(audit).lower()


@pytest.mark.parametrize(
    "source",
    [
        "x = 'postgresql://user:password@db/prod'",
        "x = 'postgresql://app:db-password@db/prod'",
        "x = 'postgresql://USER:PASSWORD@db/prod'",
        "x = 'postgresql://postgres:postgres@db/prod'",
        "x = 'postgresql://app:{password}@db/prod'",
        "x = 'postgresql://app:<password>@db/prod'",
        "x = 'postgresql://app:********@db/prod'",
        "x = 'postgresql://app:$PGPASSWORD@db/prod'",
        "x = 'postgresql://app:%(password)s@db/prod'",
        "x = 'postgresql://app:%s-12345@db/prod'",
        "x = f'postgresql://app:{password}@db/prod'",
        "x = 'postgresql://app:changeme1@db/prod'",
        "x = 'postgresql://app:short@db/prod'",
        "x = 'postgresql://app:s3cr3t-s3cr3t@localhost/test'",
        "x = 'postgresql://app:s3cr3t-s3cr3t@127.0.0.1:5432/test'",
        "x = 'https://app:s3cr3t-s3cr3t@api.example.com/'",
        "x = 'https://api.org:8443/path@2x'",
        "x = 'https://api.org/a:1234567@b'",
        "x = 'Bearer'",
        "x = 'Bearer authentication_credentials_missing'",
        "x = 'Bearer {the-token-of-the-caller-1}'",
        "x = 'Bearer your-token-goes-here-1234567890'",
        "x = f'Bearer {token}'",
        "connect(password='password')",
        "connect(password='correct horse 1')",
        "connect(password='hunter2')",
        "connect(password='<password-1>')",
        "connect(password='my-password1')",
        "connect(password=password, token=None, secret=7)",
        "Client(token='csrfmiddlewaretoken')",
        "Client(api_key='X-Api-Key-Header')",
        "Client(max_tokens='canary-9f41')",
    ],
)
def test_what_stands_for_a_password_or_is_one_of_the_own_machine(audited, source):
    assert rules(audited(a=source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "password = 'hunter2'",
        "password = 'correct horse battery staple 1'",
        "token = 'https://issuer.example/oauth2/token/v1'",
        "api_key = 'your-api-key-goes-here-123'",
        "auth_token = 'xxxxxxxxxxxxxxxxxxxxxxx1'",
        "token = 'aaaaaaaaaaaaaaaaaaaaaaa1'",
        "token = '/run/secrets/api-token-12345'",
        "token = '!#$%&*+-.^_`|~0123456789abc'",
        "token = 'abcdefghijklmnopqrstuv'",
        "token = '01234567890123456789'",
        f"keyed = '{RANDOM}'",
        f"EXPECTED = '{HEX}'",
        f"transaction = '0x{HEX}'",
        "x = 'AKIAIOSFODNN7EXAMPLE'",
        "call(api_key='X-Api-Key')",
        "API_KEY = 'partner-api-key'",
        "call({'API_KEY': 'the key of the partner'})",
        "with request_scope(values={'API_KEY': 'k-1'}): ...",
        "secrets = Shop(source=source, pinned={'API_KEY': 3})",
        "policy = ReloadPolicy(exceptions={'API_KEY': 'verifies'})",
    ],
)
def test_what_only_looks_like_a_value(audited, source):
    names = Names(frozenset({"API_KEY"}), confidential=frozenset({"API_KEY"}))
    assert rules(audited(names, a=source)) == []


# -- uses --------------------------------------------------------------------------------------


def test_a_use_in_another_folder_counts_and_one_of_another_container_does_not(audited):
    one = "class One(SecretContainer):\n    fee = DynamicSecret('FEE_ONE')\n"
    two = "class Two(SecretContainer):\n    other = DynamicSecret('FEE_TWO')\n"
    using = "secrets.fee()\nsecrets.other()\n"
    assert rules(audited(one__container=one, two__container=two, two__app=using)) == [
        ("container.py:2", "unused")
    ]
    assert rules(audited(api__app=using)) == []


def test_an_attribute_of_what_is_no_container_is_no_use_of_a_secret(audited):
    files = {
        "one__container": "class One(SecretContainer):\n    fee = DynamicSecret('FEE')\n    x = C(fee)\n",
        "two__container": "class Two(SecretContainer):\n    key = DynamicSecret('KEY_TWO')\n    x = C(key)\n",
    }
    assert rules(audited(**files, two__app="invoice.fee\nx = 'FEE'\ncall().fee\n")) == []
    found = audited(
        two__app="Two.fee\nlocal = Two(source=s)\nlocal.fee()\nsecrets.key()\nx = 'KEY_TWO'\n"
    )
    assert rules(found) == [("app.py:1", "undeclared"), ("app.py:3", "undeclared")]


@pytest.mark.parametrize(
    ("use", "rule"),
    [
        ("secrets.peer_url()", ["undeclared"]),
        ("self.secrets.peer_url()", ["undeclared"]),
        ("self._secrets.peer_url()", ["undeclared"]),
        ("self.__container.peer_url()", ["undeclared"]),
        ("_config.peer_url()", ["undeclared"]),
        ("self._secretsmith.peer_url()", []),
        ("self._secrets_.peer_url()", []),
    ],
)
def test_a_container_that_an_object_keeps_to_itself_is_one(found, use, rule):
    """Old fault: what was called `self._secrets` was nothing to the audit."""
    files = {"s__container": CONTAINER, "s__app": f"secrets.signing_key()\n{use}\n"}
    assert [each for _, each in found(**files)] == rule


# -- comments ----------------------------------------------------------------------------------


def test_a_comment_lets_one_rule_pass_and_its_reason_is_kept(audited):
    audit = audited(
        a="""
        import os
        os.getenv("DB_PASSWORD")  # pgp-config: allow[env-secret, env-read] set by the test bench
        os.getenv("DB_PASSWORD")  # pgp-config: allow[env-read] another rule
        text = "# pgp-config: allow[env-read] in a string it is none"
        x = 1  # pgp-config: allow[no-such-rule] for nothing
        """
    )
    assert [(each.place.rpartition("/")[2], each.reason) for each in audit.allowed] == [
        ("a.py:3", "set by the test bench")
    ]
    assert rules(audit) == [
        ("a.py:4", "env-secret"),
        ("a.py:4", "unused-allow"),
        ("a.py:6", "unused-allow"),
    ]
    assert "no-such-rule pass, and there is no such rule" in audit.findings[2].text


def test_rules_that_are_ignored_need_no_comment(tmp_path):
    (tmp_path / "a.py").write_text(
        "import os\n"
        "os.getenv('DB_PASSWORD')  # pgp-config: allow[env-secret] why\n"
        "x = 1  # pgp-config: allow why\n"
        "y = 1  # pgp-config: allow[unused] why\n"
    )
    found = audit_sources([tmp_path], ignore=["env-secret"]).findings
    assert [(each.line, each.rule) for each in found] == [(4, "unused-allow")]
    assert audit_sources([tmp_path], ignore=["env-secret", "unused-allow"]).findings == []


# -- files -------------------------------------------------------------------------------------


def test_files_of_tests_are_left_out_unless_they_are_asked_for(tmp_path):
    for name in ("tests/helpers.py", "test_a.py", "a_test.py", "conftest.py", "contest.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("import os\nos.getenv('DB_PASSWORD')\n")
    audit = audit_sources([tmp_path])
    assert ([each.where[-10:] for each in audit.findings], audit.tests) == (["contest.py"], 4)
    assert len(audit_sources([tmp_path], tests=True).findings) == 5
    assert len(audit_sources([tmp_path / "test_a.py", tmp_path / "test_a.py"]).findings) == 1


def test_folders_of_others_and_excluded_ones_are_left_out(tmp_path):
    for folder in (".hidden", "node_modules", "env", "generated", "deep/generated", "kept"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text("import os\nos.getenv('DB_PASSWORD')\n")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    audit = audit_sources([tmp_path], exclude=["generated", "kept/b*"])
    assert [each.where.rpartition("/")[0][-4:] for each in audit.findings] == ["kept"]


def test_what_cannot_be_read_does_not_end_the_audit(tmp_path, monkeypatch):
    monkeypatch.setattr(files_module, "MOST_BYTES", 30_000)
    (tmp_path / "binary.py").write_bytes(b"\x00\x01token")
    (tmp_path / "cookie.py").write_bytes(b"# coding: no-such-coding\ntoken = 1")
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "deep.py").write_text(f"token = {'-' * 29_000}1")
    (tmp_path / "huge.py").write_text("#" * 30_001)
    (tmp_path / "latin.py").write_bytes(
        b"# coding: latin-1\nx = '\xff'; import os; os.getenv('A_TOKEN')"
    )
    (tmp_path / "other.py").write_text("print 'python 2, of which nothing matters'")
    (tmp_path / "warns.py").write_text("token = '\\d' is 'x'")
    found = audit_sources([tmp_path]).findings
    assert [(each.where.rpartition("/")[2], each.rule) for each in found] == [
        ("binary.py", "unreadable"),
        ("cookie.py", "unreadable"),
        ("dangling.py", "unreadable"),
        ("deep.py", "unreadable"),
        ("huge.py", "unreadable"),
        ("latin.py", "env-secret"),
    ]
    assert "it has 30,001 bytes, and more than 30,000 are not read" in found[4].text


def test_modules_of_folders_without_an_init_are_found_by_their_path(audited):
    files = {
        "src__shop__names": "KEY = 'DB_PASSWORD'\n",
        "src__shop__app": "import os\nfrom shop.names import KEY\nos.getenv(KEY)\n",
        "one__same": "KEY = 'A'",
        "two__same": "KEY = 'B'",
        "src__shop__amb": "import os\nfrom same import KEY\nos.getenv(KEY)\n",
    }
    assert rules(audited(**files)) == [("app.py:3", "env-secret")]


def test_garbage_collection_is_as_it_was(tmp_path):
    import gc

    (tmp_path / "a.py").write_text("")
    audit_sources([tmp_path])
    assert gc.isenabled()
    gc.disable()
    try:
        audit_sources([tmp_path])
        assert not gc.isenabled()
    finally:
        gc.enable()
