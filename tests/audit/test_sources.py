"""What programs do with secrets by hand, found in their sources; and what looks like it and is not."""

import textwrap
from pathlib import Path

import pytest

from pgp_config.audit import RULES, Names, audit_sources

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
        "FEE = call()",
        "call({'FEE': '3', **other, 1: 2})",
        "API = 'https://api.example'",
        "SOME_URL = 'http://x.run.app'",
        "SOME_URL = 'https://[x'",
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
