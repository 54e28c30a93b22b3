"""The HTML report in a real browser, from the disk: it sorts, filters, plays, and asks nothing of any network."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.report.fake_videos import QUESTION, TITLE

pytestmark = pytest.mark.long
LOCAL = ("data:", "chrome://")  # the second are pages of the browser itself


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    """Headless Chromium with a profile of its own; its logs have every request and every message of the console."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("Chromium is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    quiet = ("--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-component-update")
    for argument in ("--headless", "--no-sandbox", *quiet, "--window-size=1200,1000"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture
def visit(browser, html_folder) -> Iterator[Callable[[str], None]]:
    """A function that opens a page; in the end no console had a message and every request was for a file."""
    browser.get_log("performance"), browser.get_log("browser")
    yield lambda page: browser.get((html_folder / page).as_uri())
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [one["params"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    urls = {request["requestId"]: request["request"]["url"] for request in sent}
    assert urls and [url for url in urls.values() if not url.startswith((*LOCAL, html_folder.as_uri()))] == []
    failed = {one["params"]["requestId"] for one in messages if one["method"] == "Network.loadingFailed"}
    # A request of the browser for itself, which no page has sent, may fail.
    assert [url for key, url in urls.items() if key in failed and not url.startswith(LOCAL)] == []


def column(browser: webdriver.Chrome, number: int) -> list[str]:
    """Text of a column of the visible rows of the first table."""
    table = browser.find_element(By.CSS_SELECTOR, "table.sortable")
    rows = table.find_elements(By.CSS_SELECTOR, "tbody:not(.label) tr")
    return [row.find_elements(By.TAG_NAME, "td")[number].text for row in rows if row.is_displayed()]


def picture(canvas: WebElement) -> bytes:
    """What a canvas shows, on whole pixels of the screen."""
    style = "position: fixed; left: 0; top: 0; width: 288px; max-width: none; max-height: none; z-index: 9"
    canvas.parent.execute_script("arguments[0].style.cssText = arguments[1]", canvas, style)
    shown = canvas.screenshot_as_png
    canvas.parent.execute_script("arguments[0].style.cssText = ''", canvas)
    return shown


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "the page did not change"
        time.sleep(0.05)


def focused(browser: webdriver.Chrome) -> WebElement:
    return browser.switch_to.active_element


def test_a_heading_sorts_its_column_by_number_with_mouse_and_keyboard(browser, visit):
    visit("index.html")
    headings = browser.find_elements(By.CSS_SELECTOR, "table.sortable th button")
    names = [heading.text for heading in headings]
    number = names.index("AP")
    values = column(browser, number)
    assert values != sorted(values, key=float, reverse=True)
    headings[number].click()
    wait_for(lambda: column(browser, number) == sorted(values, key=float, reverse=True))
    headings[number].send_keys(Keys.ENTER)
    wait_for(lambda: column(browser, number) == sorted(values, key=float))
    assert headings[number].find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"


def test_a_filter_leaves_the_rows_with_its_words(browser, visit):
    visit("videos.html")
    search = browser.find_element(By.CSS_SELECTOR, "input[type=search]")
    search.send_keys("+100")
    assert len(column(browser, 0)) == 8
    search.send_keys(" 00001")
    assert column(browser, 0) == ["2"]
    search.send_keys(" nothing")
    assert column(browser, 0) == [] and browser.find_element(By.CSS_SELECTOR, ".none").is_displayed()


def test_masks_play_over_the_frames_and_can_be_hidden(browser, visit):
    visit("videos/2.html")
    play, box, frame = (
        browser.find_element(By.CSS_SELECTOR, name) for name in (".play", "[type=checkbox]", "[type=range]")
    )
    truth, baseline, variant = browser.find_elements(By.TAG_NAME, "canvas")
    wait_for(lambda: play.text == "Pause")
    shown = {picture(truth) for _ in range(12) if not time.sleep(0.1)}
    assert len(shown) >= 3
    play.click()
    frame.send_keys(Keys.HOME)
    assert browser.find_element(By.TAG_NAME, "output").text.startswith("frame 1 of ")
    first = picture(truth)
    assert picture(variant) == first != picture(baseline)  # the variant finds everything, the baseline nothing
    box.click()
    assert picture(truth) == picture(baseline) != first
    box.click()
    assert picture(truth) == first
    frame.send_keys(Keys.ARROW_RIGHT)
    assert browser.find_element(By.TAG_NAME, "output").text.startswith("frame 2 of ")
    assert picture(truth) != first


def test_every_page_can_be_opened_from_the_first_one(browser, visit, html_folder):
    visit("index.html")
    first = browser.current_url
    left, seen = [first], {first}
    while left:
        browser.get(left.pop())
        assert browser.find_element(By.TAG_NAME, "h1").text
        links = browser.execute_script("return [...document.links].map((link) => link.href.split('#')[0])")
        for link in {link for link in links if link.endswith(".html")} - seen:
            seen.add(link)
            left.append(link)
    assert seen == {path.as_uri() for path in html_folder.rglob("*.html")}


def test_every_picture_is_drawn_and_has_a_text(browser, visit):
    visit("index.html")
    script = "return [...document.images].map((image) => { image.loading = 'eager'; return image.alt; })"
    texts = browser.execute_script(script)
    assert len(texts) > 5 and all(texts)
    done = "return [...document.images].every((image) => image.complete && image.naturalWidth > 0)"
    wait_for(lambda: browser.execute_script(done))


def test_free_text_is_shown_and_not_run(browser, visit):
    visit("index.html")
    assert browser.title == "Results · study fake"
    assert QUESTION in browser.find_element(By.TAG_NAME, "main").text
    visit("runs/synthvis.tiny.ms_sts.html")
    assert browser.find_element(By.TAG_NAME, "h1").text == TITLE


def test_a_keyboard_reaches_the_content_the_pages_and_the_player(browser, visit):
    visit("videos/2.html")
    names = []
    for _ in range(12):
        focused(browser).send_keys(Keys.TAB)
        names.append(focused(browser).accessible_name)
    assert names[0] == "Skip to the content"
    assert {"Results", "Videos", "Runs", "Frame", "masks"} <= set(names) and {"Play", "Pause"} & set(names)
