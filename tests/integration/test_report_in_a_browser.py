"""How a browser takes the pages of real, tiny reproductions."""

import re
from pathlib import Path

import pytest
from PIL import ImageColor
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.soak
CHROMIUM, DRIVER = (Path("/usr/bin") / name for name in ("chromium", "chromedriver"))
SWITCHES = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--mute-audio", "--autoplay-policy=no-user-gesture-required"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium that has seen nothing before."""
    if not (CHROMIUM.is_file() and DRIVER.is_file()):
        pytest.skip(f"no browser: {CHROMIUM} and {DRIVER} are needed")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(params=["weak-labels", "model-selection"])
def opened(request, browser, report_pages):
    """A browser that shows a page, 1200 pixels wide, in light colours."""

    def emulate(width=1200, scheme="light", script=True):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
        browser.get(report_pages(request.param).as_uri())
        return browser

    yield emulate
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_nothing_leaves_the_page_and_nothing_is_complained_of(opened):
    browser = opened()
    browser.get_log("performance")  # what the browser asked for when it started
    browser.refresh()
    browser.execute_script("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert browser.get_log("browser") == []
    asked = re.findall(r'"Network\.requestWillBeSent".*?"url":"([^"]*)"', str(browser.get_log("performance")))
    asked += re.findall(r'"request":\{.*?"url":"([^"]{1,60})', str(browser.get_log("performance")))
    assert all(address.startswith(("file:", "data:")) for address in asked)
    broken = "return [...document.images].filter((image) => image.complete && !image.naturalWidth).length"
    assert browser.execute_script(broken) == 0


def test_one_player_at_a_time_and_escape_stops_it(opened):
    browser = opened()
    playing = browser.execute_async_script(
        """const done = arguments[0];
        const [one, other] = document.querySelectorAll(".example[open] audio");
        one.loop = other.loop = true;
        const answer = () => setTimeout(() => done([one.paused, other.paused]), 100);
        one.play().then(() => other.play()).then(answer, done);"""
    )
    assert playing == [True, False]
    browser.find_element("tag name", "body").send_keys(Keys.ESCAPE)
    assert browser.execute_script("return [...document.querySelectorAll('audio')].every((player) => player.paused)")


def test_a_phone_shows_it_without_scrolling_sideways(opened):
    browser = opened(width=360)
    browser.execute_script("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    outside = browser.execute_script(
        """const scrolls = (element) => element.closest(".scroll, nav ul, pre, .chart");
        return [...document.querySelectorAll("main *")].filter((element) => !scrolls(element) &&
          element.getBoundingClientRect().right > 361).map((element) => element.outerHTML.slice(0, 80));"""
    )
    assert outside == []


def contrast(one, other):
    def luminance(colour):
        values = [value / 255 for value in ImageColor.getrgb(colour)[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_lines_stand_out_from_what_is_behind_them(opened, scheme):
    browser = opened(scheme=scheme)
    found = browser.execute_script(
        """const behind = (element) => {
          for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if (colour !== "rgba(0, 0, 0, 0)" && !colour.startsWith("color(")) return colour;
          }
          return "rgb(255, 255, 255)";
        };
        const pairs = new Map();
        const add = (kind, colour, element) => pairs.set([kind, colour, behind(element)].join("|"), true);
        const texts = "h1, h2, h3, h4, h5, p, a, li, th, td, span, b, dt, dd, summary, figcaption, legend";
        for (const element of document.querySelectorAll(texts)) add("text", getComputedStyle(element).color, element);
        for (const element of document.querySelectorAll("svg text"))
          add("text", getComputedStyle(element).fill, element);
        for (const element of document.querySelectorAll("i.swatch"))
          add("line", getComputedStyle(element).backgroundColor, element.parentElement);
        return [...pairs.keys()];"""
    )
    pairs = [pair.split("|") for pair in found]
    assert {kind for kind, *_ in pairs} == {"text", "line"}
    for kind, colour, background in pairs:
        assert contrast(colour, background) >= (4.5 if kind == "text" else 3), (kind, colour, background)


def test_without_scripts_everything_is_still_there(opened):
    browser = opened(script=False)
    folded = browser.find_elements("css selector", "details:not([open]) > summary")
    assert not browser.find_element("css selector", ".controls").is_displayed()
    assert browser.find_elements("css selector", "audio")
    folded[0].send_keys(Keys.ENTER)
    assert len(browser.find_elements("css selector", "details:not([open])")) == len(folded) - 1
