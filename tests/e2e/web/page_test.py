"""The page as a person uses it, in a real browser."""
import base64
import json
import pathlib
import struct
import unittest

from playwright.sync_api import expect

import mock_server
from browser import PageTest


class Conversation(PageTest):
    def test_reply_streams_and_tells_its_speed(self):
        self.say("long story", wait=False)
        expect(self.last).to_contain_text("word3 ")
        self.assertNotIn("word399", self.last.inner_text())
        expect(self.last).to_have_attribute("aria-busy", "true")
        self.page.locator(".send.stopping").click()
        self.say("hello")
        expect(self.last).to_contain_text("You said: user: hello")
        expect(self.last.locator(".stats")).to_contain_text("123 tokens/s")
        expect(self.last.locator(".stats")).to_contain_text("first after")
        request = self.state()["requests"][-1]
        self.assertEqual([m["role"] for m in request["messages"]], ["user", "assistant", "user"])
        self.assertEqual((request["stream"], request["model"], request["modalities"]), (True, "tessera-mini", ["auto"]))

    def test_stop_ends_the_request_and_keeps_the_text(self):
        self.say("long story", wait=False)
        expect(self.last).to_contain_text("word2 ")
        self.page.keyboard.press("Escape")
        self.wait_for_reply()
        expect(self.last.locator(".stats")).to_contain_text("Stopped")
        self.assertIn("word2", self.last.inner_text())
        self.until(lambda: self.state()["cancelled"] == 1)

    def test_thoughts_are_folded_away_and_go_back(self):
        self.say("think")
        thoughts = self.last.locator("details.thoughts")
        expect(thoughts.locator("p")).to_be_hidden()
        thoughts.locator("summary").click()
        expect(thoughts.locator("p")).to_have_text("Let me <b>see</b>.")
        expect(self.last).to_contain_text("It is so.")
        self.say("hello")
        message = self.state()["requests"][-1]["messages"][1]
        self.assertEqual(message, {"role": "assistant", "content": "It is so.", "reasoning_content": "Let me <b>see</b>."})
        self.page.reload()
        expect(self.page.locator("details.thoughts")).to_have_count(1)

    def test_edit_and_regenerate_make_versions(self):
        self.say("first question")
        self.last.locator(".regenerate").click()
        self.wait_for_reply()
        expect(self.last.locator(".versions")).to_contain_text("2/2")
        user = self.page.locator(".message.user").first
        user.hover()
        user.get_by_role("button", name="Edit").click()
        self.page.fill(".edit textarea", "second question")
        self.page.press(".edit textarea", "Enter")
        self.wait_for_reply()
        expect(self.last).to_contain_text("You said: user: second question")
        expect(self.page.locator(".message")).to_have_count(2)
        expect(self.page.locator(".message.user .versions")).to_contain_text("2/2")
        self.assertEqual(len(self.state()["requests"][-1]["messages"]), 1)
        self.page.locator(".message.user").get_by_role("button", name="Previous version").click()
        expect(self.last).to_contain_text("first question")
        expect(self.last.locator(".versions")).to_contain_text("2/2")
        self.page.reload()
        expect(self.last).to_contain_text("first question")

    def test_sampling_and_system_prompt_are_sent(self):
        self.page.click("#panel-toggle")
        self.page.fill("#system-prompt", "Be brief.")
        self.page.get_by_label("Temperature").fill("0.3")
        self.page.get_by_label("Longest reply").fill("77")
        self.page.get_by_label("Seed", exact=True).fill("0")
        self.page.get_by_label("Stop strings").fill("END\nSTOP")
        self.page.get_by_label("Stop strings").blur()
        self.say("settings")
        request = self.state()["requests"][-1]
        self.assertEqual(request["messages"][0], {"role": "system", "content": "Be brief."})
        self.assertEqual({k: request.get(k) for k in ("temperature", "max_tokens", "seed", "stop", "top_p")},
                         {"temperature": 0.3, "max_tokens": 77, "seed": 0, "stop": ["END", "STOP"], "top_p": None})
        self.page.get_by_role("button", name="Reset all").click()
        self.say("settings")
        self.assertNotIn("temperature", self.state()["requests"][-1])

    def test_model_picker_follows_capabilities(self):
        expect(self.page.locator("input[name=reply-as]")).to_have_count(5)
        self.page.select_option("#model", "words-only")
        expect(self.page.locator("input[name=reply-as]")).to_have_count(0)
        expect(self.page.get_by_role("button", name="Record", exact=True)).to_have_count(0)
        self.say("hello")
        self.assertEqual(self.state()["requests"][-1]["model"], "words-only")
        self.page.reload()
        expect(self.page.locator("#model")).to_have_value("words-only")

    def test_two_conversations_answer_at_once(self):
        self.say("long story", wait=False)
        expect(self.last).to_contain_text("word1 ")
        self.page.keyboard.press("Alt+n")
        expect(self.page.locator(".welcome")).to_be_visible()
        self.say("meanwhile")
        expect(self.last).to_contain_text("meanwhile")
        self.page.locator(".history a", has_text="long story").click()
        expect(self.last).to_have_attribute("aria-busy", "true")
        expect(self.last).to_contain_text("word60 ")

    def test_screen_readers_hear_each_sentence_once(self):
        self.say("showcase")
        said = self.page.locator("#announcer").evaluate("e => e.textContent")
        self.assertEqual(said.count("It sees codes."), 1)
        self.assertEqual(said.count("A tour of tokens"), 1)


class Media(PageTest):
    def test_picture_in_by_choice_drop_and_paste(self):
        small = mock_server.png()
        self.attach("small.png", "image/png", small)
        self.page.evaluate("""([base64]) => {
            const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
            for (const kind of ['drop', 'paste']) {
                const data = new DataTransfer();
                data.items.add(new File([bytes], kind + '.png', {type: 'image/png'}));
                const target = document.querySelector(kind === 'drop' ? '.chat' : '#message');
                target.dispatchEvent(kind === 'drop' ? new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})
                                                     : new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}));
            }}""", [base64.b64encode(small).decode()])
        expect(self.page.locator(".attachments img")).to_have_count(3)
        self.page.get_by_role("button", name="Remove Picture 3").click()
        self.say("what is it?")
        parts = self.state()["requests"][-1]["messages"][0]["content"]
        self.assertEqual([part["type"] for part in parts], ["image_url", "image_url", "text"])
        self.assertEqual(base64.b64decode(parts[0]["image_url"]["url"].partition(",")[2]), small)
        expect(self.page.locator(".message.user .picture img")).to_have_count(2)

    def test_large_picture_is_made_smaller(self):
        self.attach("large.png", "image/png", mock_server.png(2400, 600))
        expect(self.page.locator(".attachments img")).to_have_count(1)
        self.say("large")
        url = self.state()["requests"][-1]["messages"][0]["content"][0]["image_url"]["url"]
        data = base64.b64decode(url.partition(",")[2])
        self.assertTrue(url.startswith("data:image/png;base64,"))
        self.assertEqual(struct.unpack(">II", data[16:24]), (1536, 384))

    def test_unreadable_files_are_refused_with_their_name(self):
        self.attach("broken.png", "image/png", b"no picture")
        expect(self.page.locator(".toast")).to_contain_text("broken.png")
        self.attach("broken.wav", "audio/wav", b"no sound")
        expect(self.page.locator(".toast").last).to_contain_text("broken.wav")
        expect(self.page.locator(".attachments li")).to_have_count(0)

    def test_picture_out_and_in_the_next_request(self):
        self.reply_as("image")
        self.say("Draw two red circles.")
        image = self.last.locator(".picture img")
        expect(image).to_have_attribute("alt", "Picture made by the model")
        self.assertEqual(image.evaluate("e => [e.naturalWidth, e.naturalHeight]"), [48, 48])
        self.assertEqual(self.state()["requests"][-1]["modalities"], ["text", "image"])
        self.last.locator(".picture").click()
        expect(self.page.locator("dialog .full")).to_be_visible()
        self.page.keyboard.press("Escape")
        expect(self.page.locator("dialog")).to_have_count(0)
        self.reply_as("text")
        self.say("history")
        expect(self.last).to_contain_text("assistant image: data:image/png;base64 ")

    def test_speech_and_music_out_play(self):
        for kind in ("speech", "music"):
            self.reply_as(kind)
            self.say(f"make {kind}")
            player = self.last.locator(f".player-{kind}[data-drawn]")
            expect(player).to_be_visible()
            expect(player.locator(".time")).to_have_text("0:02")
            player.get_by_role("button", name="Play").click()
            expect(player).to_have_class(f"player player-{kind} playing")
            self.until("document.querySelector('.player.playing audio').currentTime > 0.1")
            player.get_by_role("button", name="Pause").click()
            player.get_by_role("slider").press("ArrowRight")
            self.assertGreater(float(player.get_by_role("slider").get_attribute("aria-valuenow")), 1)
            heights = player.locator(".wave i").evaluate_all("all => all.map((e) => parseInt(e.style.height))")
            self.assertGreater(max(heights), 90)
            self.assertLess(min(heights), 30)
        expect(self.page.locator(".transcript")).to_have_text("Good morning.")
        self.assertEqual([(r["modalities"], r["audio"]) for r in self.state()["requests"]],
                         [(["text", kind], {"format": "wav"}) for kind in ("speech", "music")])
        self.page.click("#panel-toggle")
        self.page.get_by_label("Voice of speech").select_option("Tom")
        self.reply_as("speech")
        self.say("in Tom's voice")
        self.assertEqual(self.state()["requests"][-1]["audio"], {"format": "wav", "voice": "Tom"})
        self.reply_as("text")
        self.say("history")
        expect(self.last).to_contain_text("assistant audio: wav 1 channel 24000 Hz 16 bit 2.0 s input_audio")
        expect(self.last).to_contain_text("assistant audio: wav 1 channel 24000 Hz 16 bit 2.0 s input_music")

    def test_sound_file_as_music(self):
        self.attach("tune.wav", "audio/wav", mock_server.wav(1.5, 44100))
        self.page.get_by_label("This recording is").select_option("music")
        self.say("what is this?")
        expect(self.last).to_contain_text("1 channel 24000 Hz 16 bit 1.5 s input_music")

    def test_microphone(self):
        self.page.get_by_role("button", name="Record", exact=True).click()
        expect(self.page.locator(".recording")).to_be_visible()
        expect(self.page.locator(".recording .time")).to_have_text("0:01")
        self.page.get_by_role("button", name="Finish the recording").click()
        expect(self.page.locator(".attachments .player")).to_be_visible()
        self.page.press("#message", "Enter")
        self.wait_for_reply()
        part = self.state()["requests"][-1]["messages"][0]["content"][0]
        self.assertEqual((part["type"], part["input_audio"]["format"]), ("input_audio", "wav"))
        data = base64.b64decode(part["input_audio"]["data"])
        self.assertEqual((data[:4], struct.unpack("<HHI", data[20:28])), (b"RIFF", (1, 1, 24000)))
        samples = struct.unpack(f"<{(len(data) - 44) // 2}h", data[44:])
        self.assertGreater(len(samples), 12000)
        self.assertGreater(max(samples), 1000)  # Chromium's fake microphone beeps
        self.page.get_by_role("button", name="Record", exact=True).click()
        self.page.get_by_role("button", name="Discard the recording").click()
        expect(self.page.locator(".attachments li")).to_have_count(0)


class History(PageTest):
    def test_reload_search_rename_pin_delete_undo(self):
        self.say("the weather in Oslo")
        self.page.keyboard.press("Alt+n")
        self.say("a poem about rain")
        self.page.reload()
        expect(self.last).to_contain_text("a poem about rain")
        expect(self.page.locator(".history a")).to_have_text(["a poem about rain", "the weather in Oslo"])
        self.page.keyboard.press("Control+k")
        self.page.keyboard.type("said oslo")  # words of the reply count too
        expect(self.page.locator(".history a")).to_have_text(["the weather in Oslo"])
        self.page.fill("#search", "")
        self.history_menu("Pin", "the weather in Oslo")
        expect(self.page.locator(".history h2")).to_have_text(["Pinned", "Today"])
        self.history_menu("Rename", "the weather in Oslo")
        self.page.locator("dialog input").fill("Oslo <b>bold</b>")
        self.page.keyboard.press("Enter")
        expect(self.page.locator(".history a").first).to_have_text("Oslo <b>bold</b>")
        self.history_menu("Delete", "a poem about rain")
        expect(self.page.locator(".welcome")).to_be_visible()
        expect(self.page.locator(".history a")).to_have_count(1)
        self.page.get_by_role("button", name="Undo").click()
        expect(self.page.locator(".history a")).to_have_count(2)
        self.page.reload()
        expect(self.page.locator(".history a")).to_have_text(["Oslo <b>bold</b>", "a poem about rain"])
        self.page.locator(".history a").nth(1).click()
        expect(self.last).to_contain_text("a poem about rain")

    def test_reload_in_the_middle_keeps_what_came(self):
        self.say("long story", wait=False)
        expect(self.last).to_contain_text("word130 ", timeout=30000)
        self.page.reload()
        expect(self.last).to_contain_text("word60 ")
        expect(self.last.locator(".stats")).to_contain_text("Stopped")

    def test_export_import_round_trip(self):
        self.attach("small.png", "image/png", mock_server.png())
        self.say("a <b>title</b>")
        self.reply_as("music")
        self.say("a tune")
        with self.page.expect_download() as markdown:
            self.history_menu("Export as Markdown", "title")
        text = pathlib.Path(markdown.value.path()).read_text()
        self.assertIn("data:image/png;base64,", text)
        self.assertIn("You said", text)
        with self.page.expect_download() as exported:
            self.history_menu("Export as JSON", "title")
        saved = json.loads(pathlib.Path(exported.value.path()).read_text())
        self.assertEqual([m["role"] for m in saved["messages"]], ["user", "assistant"] * 2)
        self.assertEqual(saved["messages"][0]["content"][0]["type"], "image_url")
        self.assertEqual(saved["messages"][3]["content"][0]["type"], "input_music")
        self.history_menu("Delete", "title")
        expect(self.page.locator(".history a")).to_have_count(0)
        self.page.locator("#sidebar input[type=file]").set_input_files(
            {"name": "saved.json", "mimeType": "application/json", "buffer": json.dumps(saved).encode()})
        expect(self.page.locator(".history a")).to_have_text(["a <b>title</b>"])
        expect(self.page.locator(".message")).to_have_count(4)
        expect(self.page.locator(".message .picture img")).to_have_count(1)
        expect(self.page.locator(".message .player-music[data-drawn]")).to_have_count(1)
        self.reply_as("text")
        self.say("history")
        request = self.state()["requests"][-1]
        self.assertEqual(request["messages"][:4], saved["messages"])

    def test_hostile_imports(self):
        for content in (b"{", b"[]", b"{\"messages\": 3}", b"[1, null, {\"messages\": [{\"role\": \"root\"}]}]"):
            self.page.locator("#sidebar input[type=file]").set_input_files(
                {"name": "odd.json", "mimeType": "application/json", "buffer": content})
            expect(self.page.locator(".toast").last).to_contain_text("odd.json was not imported")
        hostile = {"title": "<img src=x onerror=window.hacked=1>", "messages": [
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "javascript:window.hacked=1"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/spy.png"}},
                {"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,PHN2Zz48L3N2Zz4="}},
                {"type": "input_audio", "input_audio": {"data": "\"><script>", "format": "wav"}},
                {"type": "text", "text": "<script>window.hacked=1</script>"}]},
            {"role": "assistant", "content": mock_server.ATTACK}]}
        self.page.locator("#sidebar input[type=file]").set_input_files(
            {"name": "hostile.json", "mimeType": "application/json", "buffer": json.dumps(hostile).encode()})
        expect(self.page.locator(".message")).to_have_count(2)
        expect(self.page.locator(".message img")).to_have_count(0)
        expect(self.page.locator(".history a")).to_have_text([hostile["title"]])
        self.assertIsNone(self.page.evaluate("window.hacked ?? null"))


class Safety(PageTest):
    def test_what_a_model_says_stays_text(self):
        self.say("attack")
        self.assertIsNone(self.page.evaluate("window.hacked ?? null"))
        body = self.last.locator(".markdown")
        for tag in ("img", "script", "svg:not(.icon)", "b", "iframe", "[onerror]", "[onload]"):
            expect(body.locator(tag)).to_have_count(0)
        targets = body.locator("a").evaluate_all("all => all.map((a) => a.href)")
        self.assertTrue(targets)
        for target in targets:
            self.assertTrue(target.startswith("https://"), target)
        self.assertIn("<img src=x onerror", body.inner_text())
        self.page.evaluate("document.querySelectorAll('.markdown a, .markdown button').forEach((e) => e.tagName === 'BUTTON' && e.click())")
        self.assertIsNone(self.page.evaluate("window.hacked ?? null"))

    def test_titles_and_names_stay_text(self):
        text = "<img src=x onerror=window.hacked=1>\"'><script>window.hacked=1</script>"
        self.say(text)
        expect(self.page.locator(".history img, .history script")).to_have_count(0)
        expect(self.page.locator(".message.user .plain")).to_have_text(text)
        self.page.reload()
        expect(self.page.locator(".history a")).to_have_count(1)
        self.assertIn("<img", self.page.title())
        self.assertIsNone(self.page.evaluate("window.hacked ?? null"))

    def test_nothing_is_asked_of_other_servers(self):
        asked = []
        self.page.on("request", lambda request: asked.append(request.url))
        self.say("attack")
        self.say("showcase")
        self.page.reload()
        expect(self.last).to_be_visible()
        self.assertEqual([url for url in asked if not url.startswith((self.url, "data:", "blob:"))], [])

    def test_api_key_stays_with_the_tab(self):
        self.post("/mock/key/secret")
        self.page.reload()
        expect(self.page.locator(".banner")).to_contain_text("API key")
        self.page.get_by_role("button", name="Enter the key").click()
        expect(self.page.locator("#api-key")).to_be_focused()
        self.page.keyboard.type("secret")
        self.page.keyboard.press("Tab")
        expect(self.page.locator(".banner")).to_be_hidden()
        self.say("hello")
        expect(self.last).to_contain_text("You said")
        self.assertNotIn("secret", self.page.evaluate("JSON.stringify(localStorage)"))
        other = self.opened.new_page()
        other.goto(self.url)
        expect(other.locator(".banner")).to_contain_text("API key")


class Errors(PageTest):
    def test_busy_server_counts_down(self):
        self.say("busy")
        card = self.last.locator(".error-card")
        expect(card).to_contain_text("asks to wait")
        again = card.get_by_role("button", name="Try again")
        expect(again).to_be_disabled()
        expect(again).to_be_enabled()
        again.click()
        self.wait_for_reply()
        expect(self.last).to_contain_text("You said: user: busy")
        expect(self.page.locator(".message")).to_have_count(2)

    def test_context_server_and_stream(self):
        for text, told in (("too long", "longer than the model’s context"), ("broken server", "The server failed"),
                           ("cut", "broke off"), ("fails midway", "The server failed"), ("empty", "was empty")):
            self.say(text)
            expect(self.last.locator(".error-card")).to_contain_text(told)
        self.page.locator(".message.assistant").nth(3).get_by_text("Details").click()
        expect(self.page.locator(".message.assistant").nth(3)).to_contain_text("out of memory")
        expect(self.page.locator(".message.assistant").nth(2)).to_contain_text("You sa")  # what came stays

    def test_server_away_and_back(self):
        self.page.route("**/v1/**", lambda route: route.abort())
        self.say("hello")
        expect(self.last.locator(".error-card")).to_contain_text("cannot be reached")
        self.page.reload()
        expect(self.page.locator(".banner")).to_contain_text("cannot be reached")
        self.page.unroute("**/v1/**")
        expect(self.page.locator(".banner")).to_be_hidden()
        self.last.get_by_role("button", name="Try again").click()
        self.wait_for_reply()
        expect(self.last).to_contain_text("You said: user: hello")


class Keyboard(PageTest):
    def test_shortcuts(self):
        self.say("one")
        self.page.keyboard.press("Control+b")
        expect(self.page.locator("#sidebar")).to_be_hidden()
        self.page.keyboard.press("Control+k")
        expect(self.page.locator("#search")).to_be_focused()
        self.page.keyboard.press("Alt+s")
        expect(self.page.locator("#system-prompt")).to_be_focused()
        self.page.keyboard.press("Escape")
        expect(self.page.locator("#panel")).to_be_hidden()
        self.page.keyboard.press("/")
        expect(self.page.locator("#message")).to_be_focused()
        self.page.keyboard.press("Alt+r")
        self.wait_for_reply()
        expect(self.last.locator(".versions")).to_contain_text("2/2")
        self.page.locator("#message").press("ArrowUp")
        expect(self.page.locator(".edit textarea")).to_be_focused()
        self.page.keyboard.press("Escape")
        expect(self.page.locator(".edit")).to_have_count(0)
        self.page.locator("#panel-toggle").focus()
        self.page.keyboard.press("?")
        expect(self.page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("Alt+n")
        expect(self.page.locator(".welcome")).to_be_visible()

    def test_new_line_and_composition(self):
        self.page.focus("#message")
        self.page.keyboard.type("a")
        self.page.keyboard.press("Shift+Enter")
        self.page.keyboard.type("b")
        expect(self.page.locator("#message")).to_have_value("a\nb")
        self.page.evaluate("""document.querySelector('#message').dispatchEvent(
            new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))""")
        expect(self.page.locator(".message")).to_have_count(0)

    def test_everything_is_reached_by_tab_and_has_a_name(self):
        self.say("one")
        self.page.click("#panel-toggle")
        self.page.evaluate("document.activeElement.blur()")
        seen = set()
        for _ in range(60):
            self.page.keyboard.press("Tab")
            seen.add(self.page.evaluate("""() => { const e = document.activeElement;
                return e.id || e.getAttribute('aria-label') || e.textContent.trim().slice(0, 30); }"""))
        for name in ("skip", "search", "model", "message", "system-prompt", "api-key", "Add pictures or recordings",
                     "Another reply", "More: one", "theme", "language"):
            self.assertIn(name, seen)
        nameless = self.page.evaluate("""() => [...document.querySelectorAll('button, input, select, textarea, a')]
            .filter((e) => !e.getAttribute('aria-label') && !e.textContent.trim() && !e.labels?.length)
            .map((e) => e.outerHTML.slice(0, 80))""")
        self.assertEqual(nameless, [])

    def test_menu_and_list_by_arrows(self):
        self.say("one")
        self.page.keyboard.press("Alt+n")
        self.say("two")
        self.page.focus("#search")
        self.page.keyboard.press("ArrowDown")
        self.page.keyboard.press("ArrowDown")
        expect(self.page.locator(".history a").nth(1)).to_be_focused()
        self.page.keyboard.press("Enter")
        expect(self.last).to_contain_text("user: one")
        self.page.get_by_role("button", name="More: one").focus()
        self.page.keyboard.press("Enter")
        self.page.keyboard.press("ArrowUp")
        expect(self.page.get_by_role("menuitem", name="Delete")).to_be_focused()
        self.page.keyboard.press("Escape")
        expect(self.page.get_by_role("button", name="More: one")).to_be_focused()


def contrast(one, other):
    """WCAG's ratio of two (r, g, b)."""
    def light(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    a, b = sorted((light(one), light(other)))
    return (b + 0.05) / (a + 0.05)


class Look(PageTest):
    def colours(self):
        names = ("back", "side", "raised", "soft", "text", "muted", "accent", "on-accent", "accent-soft", "danger", "danger-soft",
                 "code-keyword", "code-string", "code-number", "code-comment", "code-call")
        read = self.page.evaluate("""(names) => names.map((name) => {
            const e = document.createElement('i'); e.style.color = `var(--${name})`; document.body.append(e);
            const c = getComputedStyle(e).color.match(/\\d+/g).slice(0, 3).map(Number); e.remove(); return c; })""", names)
        return dict(zip(names, read))

    def check_contrast(self):
        colour = self.colours()
        for ground in ("back", "side", "raised", "soft"):
            for ink in ("text", "muted", "accent"):
                self.assertGreaterEqual(contrast(colour[ink], colour[ground]), 4.5, f"{ink} on {ground}")
        for ink in ("keyword", "string", "number", "comment", "call"):
            self.assertGreaterEqual(contrast(colour[f"code-{ink}"], colour["side"]), 4.5, ink)
        self.assertGreaterEqual(contrast(colour["on-accent"], colour["accent"]), 4.5)
        self.assertGreaterEqual(contrast(colour["text"], colour["accent-soft"]), 4.5)
        self.assertGreaterEqual(contrast(colour["text"], colour["danger-soft"]), 4.5)

    def test_themes(self):
        self.assertEqual(self.colours()["back"], [255, 255, 255])
        self.check_contrast()
        self.page.emulate_media(color_scheme="dark")
        self.assertLess(max(self.colours()["back"]), 60)
        self.check_contrast()
        by_system = self.colours()
        self.page.click("#theme")
        self.assertEqual(self.colours()["back"], [255, 255, 255])
        self.page.click("#theme")
        self.page.emulate_media(color_scheme="light")
        self.assertEqual(self.colours(), by_system)
        self.page.reload()
        expect(self.page.locator("#theme")).to_have_attribute("aria-label", "Theme: dark")
        self.assertEqual(self.colours(), by_system)

    def test_language_switch(self):
        self.say("hello")
        self.page.click("#language")
        expect(self.page.locator("#message")).to_have_attribute("placeholder", "输入消息")
        expect(self.page.locator("#language")).to_be_focused()
        self.assertEqual(self.page.evaluate("document.documentElement.lang"), "zh-Hans")
        expect(self.last).to_contain_text("You said")
        expect(self.last.locator(".stats")).to_contain_text("词元/秒")
        self.page.reload()
        expect(self.page.locator(".new-chat")).to_have_text("新对话")
        self.assertEqual(self.page.evaluate("import('/i18n.js').then((m) => m.languageGaps())"), [])


class Chinese(PageTest):
    context = {"locale": "zh-CN"}

    def test_browser_language(self):
        expect(self.page.locator(".welcome h1")).to_have_text("今天想做点什么？")
        shown = self.page.locator("body").inner_text()
        for word in ("Search", "Text", "Speech", "Send"):
            self.assertNotIn(word, shown)


class Phone(PageTest):
    context = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}

    def fits(self):
        self.assertLessEqual(self.page.evaluate("document.documentElement.scrollWidth"), 390)
        wide = self.page.evaluate("""() => [...document.querySelectorAll('#main *')].filter((e) => {
            const box = e.getBoundingClientRect();
            if (e.closest('pre, .table-scroll, .visually-hidden') || e.tagName === 'INPUT') return false;
            return box.width && (box.right > 391 || box.left < -1); }).map((e) => e.className || e.tagName)""")
        self.assertEqual(wide, [])

    def test_no_horizontal_scroll(self):
        self.fits()
        self.say("showcase")
        self.fits()
        self.say("w" * 400)
        self.reply_as("speech")
        self.say("say it")
        self.reply_as("image")
        self.say("draw it")
        self.fits()
        expect(self.page.locator("#sidebar")).to_be_hidden()
        self.page.click("#sidebar-toggle")
        expect(self.page.locator(".history a")).to_have_count(1)
        self.page.locator(".new-chat").click()
        expect(self.page.locator("#sidebar")).to_be_hidden()
        expect(self.page.locator(".welcome")).to_be_visible()
        self.page.click("#panel-toggle")
        expect(self.page.locator("#system-prompt")).to_be_visible()
        self.fits()
        self.page.touchscreen.tap(20, 400)
        expect(self.page.locator("#panel")).to_be_hidden()


if __name__ == "__main__":
    unittest.main()
