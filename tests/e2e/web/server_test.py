"""The page at a real server: run with TESSERA_URL=http://127.0.0.1:8080/ where `tessera serve` runs with a model that
draws (tessera-mini does)."""
import os
import unittest

from playwright.sync_api import expect

from browser import PageTest


@unittest.skipUnless(os.environ.get("TESSERA_URL"), "TESSERA_URL names no server")
class Server(PageTest):
    address = os.environ.get("TESSERA_URL", "")

    def test_text_and_picture_and_what_it_shows(self):
        self.reply_as("image")
        self.say("Draw two red circles on green grass.")
        image = self.last.locator(".picture img")
        expect(image).to_be_visible(timeout=60000)
        self.assertGreater(image.evaluate("e => e.naturalWidth"), 15)
        self.reply_as("text")
        self.say("How many circles are there?")
        expect(self.last.locator(".markdown")).to_contain_text(".")
        expect(self.last.locator(".stats")).to_contain_text("tokens/s")
        expect(self.page.locator(".error-card")).to_have_count(0)

    def test_stop_leaves_the_server_free(self):
        self.reply_as("image")
        self.say("Draw three dogs at sea.", wait=False)
        expect(self.last).to_have_attribute("aria-busy", "true")
        self.page.keyboard.press("Escape")
        self.wait_for_reply()
        self.reply_as("text")
        self.say("There are three dogs at sea. How many dogs are there?")
        expect(self.last.locator(".markdown")).to_be_visible()

    def test_an_error_of_the_server_is_told(self):
        self.page.click("#panel-toggle")
        self.page.get_by_label("Stop strings").fill("x" * 2000)
        self.page.get_by_label("Stop strings").blur()
        self.say("hello")
        expect(self.last.locator(".error-card")).to_contain_text("stop")
