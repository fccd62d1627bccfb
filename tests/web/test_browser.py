"""The page in Chromium: what a person does, and that the download is what was shown. No request leaves the server."""

import base64
import contextlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served import pixels, png, serving

sync_api = pytest.importorskip("playwright.sync_api")
from page_pictures import CHROMIUM, FLAGS  # noqa: E402  (imports playwright)

PATIENCE = 180_000  # milliseconds; CI's cores are shared

pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=f"no Chromium at {CHROMIUM}: `make browser` installs it"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Playwright's own sockets, when it ends
]


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """A browser with a profile of its own; `context.requests` is filled with the address of every request."""
    with sync_api.sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=CHROMIUM,
            args=FLAGS,
            viewport={"width": 1100, "height": 800},
            accept_downloads=True,
            timeout=PATIENCE,
        )
        context.set_default_timeout(PATIENCE)
        sync_api.expect.set_options(timeout=PATIENCE)
        context.requests, context.complaints = [], []
        context.on("request", lambda request: context.requests.append(request.url))
        context.on("console", lambda said: context.complaints.append(said.text) if said.type == "error" else None)
        context.on("weberror", lambda error: context.complaints.append(str(error.error)))
        yield context
        context.close()


@contextlib.contextmanager
def opened(context, server, *photos):
    """Yields the page with photos on it, all of them ready."""
    page = context.new_page()
    page.goto(f"http://localhost:{server.port}/")
    page.wait_for_selector("html[data-ready]")
    files = [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in photos]
    page.set_input_files("#files", files)
    sync_api.expect(page.locator("#strip [data-state=ready]")).to_have_count(len(photos))
    page.wait_for_selector("#variants canvas")
    yield page
    page.close()


def shown(page):
    """The pixels that the page has painted."""
    url = page.evaluate("() => document.getElementById('colour').toDataURL('image/png')")
    return pixels(base64.b64decode(url.partition(",")[2]))


def downloaded(page, button="#download"):
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def frames(page):
    """Waits until what was planned has been painted."""
    page.wait_for_selector("#frame:not([data-working])")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_a_photo_from_the_upload_to_the_download(context, server):
    with opened(context, server, ("old.png", png(60, 90))) as page:
        first = shown(page)
        np.testing.assert_allclose(first, pixels(downloaded(page)[1]), atol=2)
        assert np.ptp(first, axis=-1).max() > 20

        page.locator("#saturation").fill("1.8")
        page.locator("#share").fill("0.6")
        frames(page)
        vivid = shown(page)
        assert np.ptp(vivid, axis=-1).mean() > 1.2 * np.ptp(first, axis=-1).mean()
        name, content = downloaded(page)
        assert name == "old.png"
        np.testing.assert_allclose(vivid, pixels(content), atol=2)

        page.locator("#temperature").fill("0.9")
        frames(page)
        np.testing.assert_allclose(shown(page), pixels(downloaded(page)[1]), atol=2)

        page.locator("#variants input").nth(1).check(force=True)
        frames(page)
        variant = shown(page)
        assert np.abs(variant - vivid).max() > 10
        page.select_option("#format", "tiff")
        name, content = downloaded(page)
        assert name == "old.tif"
        np.testing.assert_allclose(variant, pixels(content), atol=2)

        page.click("#reset")
        frames(page)
        np.testing.assert_array_equal(shown(page), first)


def test_the_slider_by_mouse_and_by_keyboard(context, server):
    with opened(context, server, ("old.png", png(60, 90))) as page:
        clip = "() => getComputedStyle(document.getElementById('before')).clipPath"
        box = page.locator("#frame").bounding_box()
        page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
        page.wait_for_function("() => Math.abs(document.getElementById('split').value - 25) < 2")
        before = page.evaluate(clip)
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"(before) => ({clip})() !== before", arg=before)


def test_the_explain_view_by_mouse_and_by_keyboard(context, server):
    with opened(context, server, ("old.png", png(60, 90))) as page:
        page.locator("input[value=explain]").check(force=True)
        page.wait_for_selector("#classes button")
        expect = sync_api.expect
        expect(page.locator("#classes button")).to_have_count(2)
        expect(page.locator("#scenes")).to_contain_text("zen garden")
        box = page.locator("#frame").bounding_box()
        for share, name in ((0.25, "train"), (0.75, "boat")):
            page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            expect(page.locator("#tip")).to_have_text(name)
        page.locator("#cross").focus()
        for _ in range(6):
            page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("Enter")
        page.wait_for_selector("#plane:not([hidden])")
        expect(page.locator("#place-title")).to_have_text("Colours of a place: train")


def test_variants_stay_in_their_view_when_another_photo_is_chosen(context, server):
    with opened(context, server, ("a.png", png(60, 90)), ("b.png", png(60, 90, 1))) as page:
        page.locator("input[value=explain]").check(force=True)
        page.locator("#strip button").nth(1).click()
        page.wait_for_selector("#variants canvas", state="attached")
        sync_api.expect(page.locator("#variants-part")).to_be_hidden()
        page.locator("input[value=compare]").check(force=True)
        sync_api.expect(page.locator("#variants-part")).to_be_visible()


def test_photos_that_are_dropped(context, server):
    page = context.new_page()
    page.goto(f"http://localhost:{server.port}/")
    page.wait_for_selector("html[data-ready]")
    files = [[name, base64.b64encode(png(20, 30, seed)).decode()] for seed, name in enumerate(("a.png", "b.png"))]
    page.evaluate(
        """(files) => {
          const dataTransfer = new DataTransfer();
          for (const [name, text] of files) {
            const content = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            dataTransfer.items.add(new File([content], name, { type: "image/png" }));
          }
          for (const kind of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        files,
    )
    sync_api.expect(page.locator("#strip [data-state=ready]")).to_have_count(2)
    sync_api.expect(page.locator("#drop")).to_be_hidden()
    page.close()


def test_a_hint_by_mouse_and_one_by_keyboard(context, server):
    with opened(context, server, ("old.png", png(60, 90))) as page:
        usual = shown(page)
        page.locator("input[value=hints]").check(force=True)
        box = page.locator("#frame").bounding_box()
        page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
        page.wait_for_selector("#likely-colours button")
        page.locator("#hints input").fill("#2040c0")
        frames(page)
        hinted = shown(page)
        row, column = 30, 18
        assert hinted[row, column, 2] - hinted[row, column, 0] > 30 + usual[row, column, 2] - usual[row, column, 0]
        np.testing.assert_allclose(hinted, pixels(downloaded(page)[1]), atol=1)

        page.locator("#cross").focus()
        for _ in range(10):
            page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_selector("#hints li:nth-child(2)")
        sync_api.expect(page.locator("#markers button")).to_have_count(2)
        page.locator("#likely-colours button").last.click()
        frames(page)
        assert np.abs(shown(page) - hinted).max() > 5
        for _ in range(2):
            page.locator("#hints li button").first.click()
        frames(page)
        np.testing.assert_array_equal(shown(page), usual)


def stroke(page, *places):
    """Draws with the mouse; places are shares of the photo."""
    box = page.locator("#frame").bounding_box()
    (x, y), *others = ((box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places)
    page.mouse.move(x, y)
    page.mouse.down()
    for x, y in others:
        page.mouse.move(x, y, steps=8)
    page.mouse.up()


def test_a_stroke_by_mouse_and_a_line_by_keyboard(context, server):
    with opened(context, server, ("old.png", png(60, 90))) as page:
        usual = shown(page)
        page.locator("input[value=hints]").check(force=True)
        stroke(page, (0.1, 0.2), (0.1, 0.8), (0.4, 0.8))
        page.wait_for_selector("#hints li")
        page.locator("#hints input").fill("#2040c0")
        frames(page)
        sync_api.expect(page.locator("#hints li, #strokes g")).to_have_count(2)  # no click beside the stroke
        hinted = shown(page)
        for row, column in ((15, 9), (40, 9), (48, 25)):
            assert hinted[row, column, 2] - hinted[row, column, 0] > 30
        np.testing.assert_allclose(hinted, pixels(downloaded(page)[1]), atol=1)

        page.locator("#cross").focus()
        page.keyboard.press("Shift+ArrowUp")
        page.keyboard.press("Enter")
        page.wait_for_selector("#hints li:nth-child(2)")
        frames(page)  # so that the next request is that of the line
        for _ in range(3):
            page.keyboard.press("Shift+ArrowUp")
        with page.expect_request("**/painted") as sent:
            page.keyboard.press("Shift+Enter")
        assert [len(hint["points"]) > 1 for hint in sent.value.post_data_json["hints"]] == [True, True]

        page.click("#undo")
        frames(page)
        np.testing.assert_array_equal(shown(page), hinted)
        page.click("#clear")
        frames(page)
        np.testing.assert_array_equal(shown(page), usual)
        sync_api.expect(page.locator("#strokes g, #markers button, #hints li")).to_have_count(0)


def test_a_stroke_by_finger(context, server):
    with opened(context, server, ("old.png", png(60, 90))) as page:
        page.set_viewport_size({"width": 390, "height": 700})
        page.locator("input[value=hints]").check(force=True)
        box = page.locator("#frame").bounding_box()
        devtools = context.new_cdp_session(page)
        devtools.send("Emulation.setTouchEmulationEnabled", {"enabled": True})

        def touch(kind, *places):
            points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in places]
            devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", (0.3, 0.1))
        for step in range(1, 9):
            touch("touchMove", (0.3, 0.1 + 0.1 * step))  # downwards, which would scroll the page elsewhere
        with page.expect_request("**/painted") as sent:
            touch("touchEnd")
        (hint,) = sent.value.post_data_json["hints"]
        assert hint["points"][0] == pytest.approx([0.3, 0.1], abs=0.02)
        assert hint["points"][-1] == pytest.approx([0.3, 0.9], abs=0.05)
        frames(page)


def test_many_photos_in_one_archive(context, server):
    photos = [(f"{seed}.png", png(30, 40, seed)) for seed in range(3)]
    with opened(context, server, *photos) as page:
        page.locator("#saturation").fill("1.5")
        page.click("#apply")
        page.wait_for_selector("#messages p")
        name, content = downloaded(page, "#zip")
        assert name == "coloured.zip"
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.namelist() == ["0.png", "1.png", "2.png"]
            last = archive.read("2.png")
        page.locator("#strip button").nth(2).click()
        frames(page)
        np.testing.assert_allclose(shown(page), pixels(last), atol=2)
        page.click("#remove")
        sync_api.expect(page.locator("#strip button")).to_have_count(2)


def test_a_large_photo_is_mixed_small_and_saved_large(context, server):
    with opened(context, server, ("large.png", png(800, 1600))) as page:
        small = shown(page)
        assert small.shape == (640, 1280, 3)
        large = pixels(downloaded(page)[1]).astype(np.uint8)
        assert large.shape == (800, 1600, 3)
        shrunk = np.asarray(Image.fromarray(large).resize((1280, 640), Image.Resampling.LANCZOS)).astype(int)
        assert np.abs(small - shrunk).mean() < 1


def test_bad_files_are_named_and_do_not_stop_the_rest(context, server):
    page = context.new_page()
    page.goto(f"http://localhost:{server.port}/")
    page.wait_for_selector("html[data-ready]")
    page.set_input_files(
        "#files",
        [
            {"name": "notes.png", "mimeType": "image/png", "buffer": b"<script>alert(1)</script>"},
            {"name": "old.png", "mimeType": "image/png", "buffer": png()},
        ],
    )
    sync_api.expect(page.locator("#messages .bad")).to_contain_text("notes.png is not a photo")  # which goes again
    page.wait_for_selector("#strip [data-state=ready]")
    page.close()
    context.complaints[:] = [text for text in context.complaints if "415" not in text]  # the browser notes it, too


def test_photos_that_the_server_forgot_are_sent_again(context):
    with serving() as server, opened(context, server, ("old.png", png())) as page:
        with page.expect_request("**/download") as sent:
            before = downloaded(page)[1]
        server.ask("POST", "/api/end", sent.value.headers["semcolor-session"])
        np.testing.assert_array_equal(pixels(downloaded(page)[1]), pixels(before))
        context.complaints[:] = [text for text in context.complaints if "410" not in text]


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_sideways_scrolling(context, server, width):
    with opened(context, server, ("old.png", png(60, 90)), ("a-very-long-name-of-a-photo-" * 4, png())) as page:
        page.set_viewport_size({"width": width, "height": 700})
        for mode in ("compare", "hints", "explain"):
            page.locator(f"input[value={mode}]").check(force=True)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_no_request_left_the_server_and_nothing_complained(context):
    """The last of this file: it judges all that the tests above have done."""
    assert len(context.requests) > 50
    hosts = {url.split("/")[2].split(":")[0] for url in context.requests if not url.startswith(("blob:", "data:"))}
    assert hosts == {"localhost"}
    assert context.complaints == []
