"""One Chromium for all tests, a fresh profile and page for each, and the mock server behind it."""
import json
import os
import shutil
import time
import unittest
import urllib.request

from playwright.sync_api import expect, sync_playwright

import mock_server

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
         "--autoplay-policy=no-user-gesture-required"]
expect.set_options(timeout=15000)


class Shared:
    playwright = browser = server = None

    @classmethod
    def start(cls):
        if cls.browser is None:
            cls.server = mock_server.serve()
            cls.playwright = sync_playwright().start()
            cls.browser = cls.playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

    @classmethod
    def stop(cls):
        if cls.browser is not None:
            cls.browser.close()
            cls.playwright.stop()
            cls.server.shutdown()


class PageTest(unittest.TestCase):
    """A page at the mock server. `context` in a class changes the browser context. Every error on the page's console,
    but for failed requests, and every violation of the policy fails the test."""
    context = {}
    address = ""  # of another server than the mock

    def setUp(self):
        Shared.start()
        self.url = self.address or "http://127.0.0.1:%d/" % Shared.server.server_address[1]
        if not self.address:
            self.post("/mock/reset")
        self.opened = Shared.browser.new_context(**{
            "viewport": {"width": 1200, "height": 800}, "locale": "en-US", "permissions": ["clipboard-read", "clipboard-write"],
            **self.context})
        self.page = self.opened.new_page()
        self.page.set_default_timeout(15000)
        self.troubles = []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", self.hear)
        self.visit()

    def tearDown(self):
        self.opened.close()
        self.assertEqual(self.troubles, [])

    def hear(self, message):
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.troubles.append(message.text)

    def visit(self, path=""):
        self.page.goto(self.url + path)
        expect(self.page.locator("#model")).to_be_enabled()

    def post(self, path):
        urllib.request.urlopen(urllib.request.Request(self.url + path[1:], data=b"", method="POST")).read()

    def state(self):
        return json.load(urllib.request.urlopen(self.url + "mock/state"))

    def until(self, condition, seconds=15):
        """Waits for a function here, or an expression of the page (whose policy forbids Playwright's own wait)."""
        end = time.time() + seconds
        holds = condition if callable(condition) else lambda: self.page.evaluate(condition)
        while not holds():
            self.assertLess(time.time(), end, f"never came: {condition}")
            time.sleep(0.1)

    # ---- acting ----

    def reply_as(self, name):
        self.page.locator(f"input[name=reply-as][value={name}]").check()

    def say(self, text, wait=True):
        self.page.fill("#message", text)
        self.page.press("#message", "Enter")
        if wait:
            self.wait_for_reply()

    def wait_for_reply(self):
        expect(self.page.locator(".composer .send.stopping")).to_have_count(0)
        expect(self.page.locator(".message.assistant").last).not_to_have_attribute("aria-busy", "true")

    def attach(self, name, kind, content):
        self.page.locator(".composer input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": content})

    @property
    def last(self):
        return self.page.locator(".message.assistant").last

    def history_menu(self, entry, title):
        row = self.page.locator(".history li", has_text=title).first
        row.hover()
        row.locator("button").click()
        self.page.get_by_role("menuitem", name=entry, exact=True).click()
