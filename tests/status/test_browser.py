"""The status page as a person has it: in a real browser, on a screen and a phone, with and without scripts."""

import re

import pytest
from playwright.sync_api import expect

from . import conftest

PHONE = {"width": 390, "height": 844}
NARROW = {"width": 320, "height": 640}

#: The texts that have less contrast than WCAG asks for, AA: 4.5, and 3 where they are large.
FAINT = """() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const shine = (color) => {
    const [r, g, b] = parse(color).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((parse(color)[3] ?? 1) > 0) return color;
    }
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [bright, dark] = [shine(style.color), shine(ground(element))].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24;
    const ratio = (bright + 0.05) / (dark + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push([walker.currentNode.data, ratio]);
  }
  return found;
}"""


def forgive(page):
    """What Chromium complained of was meant to happen."""
    page.close()
    assert page.complaints
    page.complaints.clear()


def row(page, name):
    return page.locator("tbody tr").filter(has=page.get_by_text(name, exact=True))


def field(page, name, of):
    return row(page, name).locator(f"[data-of={of}]")


def test_it_shows_every_secret_and_what_is_wrong_and_no_value(stage, serve, open_page):
    stage.befall()
    page = open_page(serve(stage.app))
    expect(page).to_have_title("Payments: secrets")
    summary = "3 of 7 secrets need attention: PGP_SPLIT1_URL, TELEGRAM_BOT_TOKEN, TP_FLAT_FEE."
    expect(page.locator(".summary")).to_have_text(summary)
    states = {
        "ALERTING_ENABLED": "Not read yet",
        "CHANGENOW_API_KEY": "Fresh",
        "NOWPAYMENTS_IPN_SECRET": "Idle",
        "PGP_SPLIT1_URL": "Stale",
        "SUCCESS_URL_SIGNING_KEY": "Sealed",
        "TELEGRAM_BOT_TOKEN": "Missing",
        "TP_FLAT_FEE": "Rejected",
    }
    assert page.locator("tbody [data-of=name]").all_text_contents() == list(states)
    for name, state in states.items():
        expect(field(page, name, "state")).to_have_text(state)
    expect(field(page, "CHANGENOW_API_KEY", "change")).to_have_text("1 → 2")
    expect(field(page, "SUCCESS_URL_SIGNING_KEY", "version_note")).to_have_text(
        "2 waits for a restart"
    )
    expect(field(page, "TP_FLAT_FEE", "error")).to_have_text("RejectedVersion")
    assert "canary" not in page.content()


def test_what_the_server_wrote_and_what_the_script_writes_is_the_same(stage, serve, open_page):
    stage.befall()
    url = serve(stage.app)
    plain = open_page(url, java_script_enabled=False, ready="tbody tr").inner_text("main")
    live = open_page(url)
    live.wait_for_function("() => document.getElementById('events').childElementCount > 0")
    assert live.inner_text("main") == plain


def test_a_rotation_is_seen_and_told_without_a_reload(stage, serve, open_page):
    page = open_page(serve(stage.app))
    expect(field(page, "CHANGENOW_API_KEY", "version")).to_have_text("1")
    expect(page.locator("#news")).to_be_empty()
    stage.rotate()
    expect(field(page, "CHANGENOW_API_KEY", "version")).to_have_text("2")
    expect(page.locator("#news")).to_have_text("CHANGENOW_API_KEY: version 2.")
    newest = page.locator("#events li").first
    expect(newest).to_contain_text("Hot-reloaded CHANGENOW_API_KEY version 1 -> 2")


def test_trouble_and_its_end_are_told_once_and_what_is_quiet_is_not(stage, serve, open_page):
    page = open_page(serve(stage.app))
    stage.clock.advance(30)
    expect(field(page, "SUCCESS_URL_SIGNING_KEY", "age")).to_have_text("30\N{NO-BREAK SPACE}s")
    expect(page.locator("#news")).to_be_empty()
    stage.fail("TP_FLAT_FEE")
    stage.refresh("flat_fee")
    expect(page.locator("#news")).to_have_text("TP_FLAT_FEE: Stale.")
    stage.source.fail("TP_FLAT_FEE", None)
    stage.clock.advance(7)
    stage.refresh("flat_fee")
    expect(page.locator("#news")).to_have_text(re.compile("TP_FLAT_FEE: (Fresh|Not read yet)."))


def test_many_changes_at_once_are_told_in_one_short_text(stage, serve, open_page):
    page = open_page(serve(stage.app))
    page.get_by_role("button", name="Pause").click()
    page.wait_for_load_state("networkidle")
    for name in conftest.VALUES:
        stage.fail(name)
    stage.clock.advance(7)
    stage.refresh("api_key", "flat_fee", "split1_url", "ipn", "alerting", "telegram")
    page.get_by_role("button", name="Go on").click()
    told = page.locator("#news")
    expect(told).to_have_text(
        re.compile(r"^\w+: \w+\. \w+: \w+\. \w+: \w+\. and 3 more changes\.$")
    )


def test_a_reader_pauses_it_and_goes_on_with_the_keyboard(stage, serve, open_page):
    page = open_page(serve(stage.app))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "pause"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_have_text("Paused")
    stage.rotate()
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_have_text("Live")
    expect(field(page, "CHANGENOW_API_KEY", "version")).to_have_text("2")


def test_a_lost_connection_is_said_and_found_again(stage, serve, open_page):
    page = open_page(serve(stage.app))
    page.route("**/data?**", lambda route: route.abort())
    expect(page.locator("#live")).to_have_text("Connection lost, trying again")
    page.unroute("**/data?**")
    expect(page.locator("#live")).to_have_text("Live")
    forgive(page)


def test_who_is_not_let_in_any_more_is_told_to_sign_in(stage, serve, open_page):
    page = open_page(serve(stage.app))
    stage.admitted = False
    expect(page.locator("#live")).to_have_text("No longer allowed: reload to sign in")
    forgive(page)


def test_while_nothing_answers_it_asks_less_and_less_often(stage, serve, open_page):
    # All pauses end at once, and are noted.
    script = """const wait = setTimeout; window.pauses = [];
        window.setTimeout = (then, pause) => { pauses.push(pause); return wait(then, 0); };"""
    page = open_page(serve(stage.app), script=script)
    page.route("**/data?**", lambda route: route.abort())
    page.wait_for_function("() => pauses.filter((pause) => pause >= 45000).length > 3")
    page.unroute("**/data?**")
    expect(page.locator("#live")).to_have_text("Live")
    pauses = page.evaluate("pauses")
    assert max(pauses) <= 75_000
    failing = pauses[next(n for n, pause in enumerate(pauses) if pause != pauses[0]) :]
    assert [0.75 * 0.05 * 2**n * 1000 <= pause for n, pause in enumerate(failing[:5], 1)] == [
        True
    ] * 5
    forgive(page)


def test_a_page_that_nobody_sees_asks_for_nothing(stage, serve, open_page):
    page = open_page(serve(stage.app), clock=True)
    show = (
        "seen => { Object.defineProperty(document, 'hidden', {value: !seen, configurable: true});"
    )
    show += " document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(show, False)
    page.asked.clear()
    page.clock.run_for(600_000)
    assert page.evaluate("1") == 1
    assert len(page.asked) <= 1  # one may have been on its way
    with page.expect_request("**/data?**"):
        page.evaluate(show, True)


class TestSeveralProcesses:
    @pytest.fixture
    def others(self, source, clock, make):
        """Three processes, which answer in turn; and which of them do."""
        stages = [conftest.Stage(source, clock, make) for _ in range(3)]
        for number, each in enumerate(stages):  # all three are in this process, and have its name
            each.page._status.instance += str(number)
        answering = list(range(3))
        turns = iter(range(10**9))

        def app(environ, start_response):
            number = answering[next(turns) % len(answering)]
            return stages[number].app(environ, start_response)

        return stages, answering, app

    def test_they_are_told_apart_and_can_be_chosen(self, others, serve, open_page):
        stages, _, app = others
        page = open_page(serve(app))
        choices = page.locator("#processes button")
        expect(choices).to_have_count(3)
        expect(choices.nth(0)).to_have_attribute("aria-pressed", "true")
        expect(choices.nth(1)).to_contain_text("same versions")
        stages[0].rotate()
        expect(page.locator("#processes")).to_contain_text("CHANGENOW_API_KEY 2")
        lagging = choices.filter(has_text="CHANGENOW_API_KEY 1")
        leading = choices.filter(has_text="CHANGENOW_API_KEY 2")
        choice = leading if leading.count() else choices.filter(has_text="shown")
        choice.click()
        expect(field(page, "CHANGENOW_API_KEY", "version")).to_have_text("2")
        expect(lagging).to_have_count(2)

    def test_when_the_shown_one_ends_another_is_shown_and_it_is_said(
        self, others, serve, open_page
    ):
        stages, answering, app = others
        page = open_page(serve(app))
        choices = page.locator("#processes button")
        expect(choices).to_have_count(3)
        shown = page.locator("#processes button[aria-pressed=true]").get_attribute("value")
        answering.remove(next(n for n, stage in enumerate(stages) if stage.instance == shown))
        expect(page.locator("#news")).to_contain_text("Another process answers now")
        expect(choices).to_have_count(2)

    def test_however_many_there_are_a_server_can_read_what_is_asked(self, stage, serve, open_page):
        turns, asked = iter(range(10**9)), []

        def app(environ, start_response):
            stage.page._status.instance = (
                f"payments-production-00042-abc-{next(turns) % 60}-0123abcd"
            )
            asked.append(len(environ["QUERY_STRING"]))
            return stage.app(environ, start_response)

        page = open_page(serve(app))
        expect(page.locator("#processes button")).to_have_count(60)
        stage.rotate()
        shown = page.locator("#processes button[aria-pressed=true]")
        expect(shown).to_have_count(1)
        expect(field(page, "CHANGENOW_API_KEY", "version")).to_have_text("2")
        # gunicorn takes 4094 bytes, by default.
        assert max(asked) < 3000
        numbers = page.locator("#events li").evaluate_all(
            "rows => rows.map(row => row.dataset.seq)"
        )
        assert len(numbers) == len(set(numbers))


def test_an_address_with_a_password_in_it_is_no_lost_connection(stage, serve, open_page):
    url = serve(stage.app).replace("://", "://status:canary-word@")
    page = open_page(url)
    stage.rotate()
    expect(field(page, "CHANGENOW_API_KEY", "version")).to_have_text("2")
    assert "canary" not in page.content()


def test_nothing_but_the_page_and_its_data_is_asked_for(stage, serve, open_page):
    url = serve(stage.app)
    page = open_page(url)
    assert {asked.partition("?")[0] for asked in page.asked} == {url, f"{url}/data"}


def test_the_policy_lets_no_other_script_or_style_or_address_in(stage, serve, open_page):
    page = open_page(serve(stage.app))
    page.evaluate("""() => {
        window.violated = [];
        document.addEventListener("securitypolicyviolation", (event) => violated.push(event.effectiveDirective));
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        const image = document.createElement("img");
        image.src = "https://example.com/pixel";
        document.body.append(script, image);
        document.body.setAttribute("style", "color: red");
        fetch("https://example.com/").catch(() => {});
    }""")
    page.wait_for_function("() => violated.length >= 4")
    assert page.evaluate("window.ran") is None
    assert sorted(page.evaluate("violated")) == [
        "connect-src",
        "img-src",
        "script-src-elem",
        "style-src-attr",
    ]
    forgive(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE], ids=["screen", "phone"])
def test_every_text_has_enough_contrast(stage, serve, open_page, scheme, size):
    stage.befall()
    page = open_page(serve(stage.app), color_scheme=scheme, viewport=size, reduced_motion="reduce")
    assert page.evaluate(FAINT) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")


@pytest.mark.parametrize("size", [PHONE, NARROW], ids=["phone", "narrow"])
def test_on_a_phone_rows_are_cards_and_nothing_is_cut_off(stage, serve, open_page, size):
    stage.befall()
    page = open_page(serve(stage.app), viewport=size, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    beyond = "all => all.filter(e => e.getBoundingClientRect().right > innerWidth).length"
    assert page.locator("main *:not(thead, thead *)").evaluate_all(beyond) == 0
    boxes = [cell.bounding_box() for cell in row(page, "TP_FLAT_FEE").locator("td").all()]
    assert len({box["y"] for box in boxes}) >= 4
    assert page.get_by_role("button", name="Pause").bounding_box()["height"] >= 40
    assert (
        row(page, "TP_FLAT_FEE")
        .locator("td")
        .nth(3)
        .evaluate("cell => getComputedStyle(cell, '::before').content")
        .startswith('"Last change"')
    )


@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE], ids=["screen", "phone"])
def test_a_screen_reader_finds_a_table_with_headed_rows_and_columns(stage, serve, open_page, size):
    stage.befall()
    page = open_page(serve(stage.app), viewport=size)
    table = page.get_by_role("table", name=re.compile("In process .*, as of .* UTC"))
    headings = ["Secret", "State", "Version", "Age", "Last change", "Last error", "Calls"]
    assert table.get_by_role("columnheader").all_text_contents() == headings
    assert table.get_by_role("row").count() == 8
    heads = table.get_by_role("rowheader")
    assert heads.count() == 7
    missing = table.get_by_role("row", name=re.compile("TELEGRAM_BOT_TOKEN"))
    # The state is a word; the sign before it, which repeats it, is not read.
    assert 'cell "Missing the last' in missing.get_by_role("cell").first.aria_snapshot()
    names = page.get_by_role("heading").all_text_contents()
    assert names == ["Secrets of Payments", "Secrets", "This process", "Events"]
    for landmark in ("banner", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    for region in ("Secrets", "This process", "Events"):
        assert page.get_by_role("region", name=region, exact=True).count() == 1
    assert page.locator("[aria-live=polite]").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


def test_nothing_moves_for_those_who_asked_for_less_motion(stage, serve, open_page):
    animation = "getComputedStyle(document.querySelector('.changed')).animationName"
    url = serve(stage.app)
    for motion, name in (("reduce", "none"), ("no-preference", "changed")):
        page = open_page(url, reduced_motion=motion)
        page.evaluate("document.querySelector('tbody [data-of=state]').classList.add('changed')")
        assert page.evaluate(animation) == name


def test_without_scripts_it_is_whole_and_offers_to_reload(stage, serve, open_page):
    stage.befall()
    page = open_page(serve(stage.app), java_script_enabled=False, ready="tbody tr")
    expect(field(page, "TP_FLAT_FEE", "state")).to_have_text("Rejected")
    expect(page.locator("#live")).to_have_text("Not live")
    expect(page.get_by_role("button")).to_have_count(0)
    stage.rotate(value="canary-k3")
    page.get_by_role("link", name="Reload", exact=True).click()
    expect(field(page, "CHANGENOW_API_KEY", "version")).to_have_text("3")
    assert page.locator("meta[http-equiv=refresh]").count() == 0
    page.get_by_role("link", name="reload every 10 s").click()
    expect(page.locator("meta[http-equiv=refresh]")).to_have_attribute("content", "10")


def test_behind_a_prefix_it_finds_its_data(stage, serve, open_page):
    def mounted(environ, start_response):
        path = environ["PATH_INFO"].removeprefix("/_secrets/shop")
        return stage.app(
            {**environ, "SCRIPT_NAME": "/_secrets/shop", "PATH_INFO": path}, start_response
        )

    url = serve(mounted)
    page = open_page(f"{url}/shop/_secrets/")
    stage.rotate()
    expect(field(page, "CHANGENOW_API_KEY", "version")).to_have_text("2")
    assert page.asked[-1].startswith(f"{url}/shop/_secrets/data?")
