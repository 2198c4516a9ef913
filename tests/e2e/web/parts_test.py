"""Modules of the page by themselves: the event stream, sound, pictures, the conversation's tree, import and export."""
import base64
import struct

import mock_server
from browser import PageTest


class Parts(PageTest):
    def in_page(self, body, argument=None):
        return self.page.evaluate("async (given) => { const at = (name) => import(`/${name}.js`); " + body + " }", argument)

    def test_events_arrive_whole_however_they_are_cut(self):
        text = (": ping\r\n\r\ndata: {\"a\": \"é中😀\"}\r\n\r\nevent: x\nid: 3\ndata:one\ndata: two\n\n\n\ndata: [DONE]\n\ndata: cut off")
        for size in (1, 2, 3, 7, 1000):
            got = self.in_page("""
                const { serverEvents } = await at('api');
                const bytes = new TextEncoder().encode(given.text);
                let from = 0;
                const stream = new ReadableStream({ pull(out) {
                  if (from >= bytes.length) out.close();
                  else out.enqueue(bytes.slice(from, from += given.size)); } });
                const events = [];
                for await (const event of serverEvents(stream)) events.push(event);
                return events;""", {"text": text, "size": size})
            self.assertEqual(got, ['{"a": "é中😀"}', "one\ntwo", "[DONE]"])

    def test_wav_is_sixteen_bit_pcm(self):
        got = bytes(self.in_page("""
            const { encodeWav } = await at('media');
            return [...encodeWav(Float32Array.of(0, 0.5, -1, 1, 2, -3), 8000)];"""))
        self.assertEqual(got[:44], struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 12, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000,
                                               2, 16, b"data", 12))
        self.assertEqual(struct.unpack("<6h", got[44:]), (0, 16384, -32767, 32767, 32767, -32767))

    def test_streamed_sound_is_joined(self):
        whole = mock_server.wav(0.1)
        for format, sent, expected in (("wav", mock_server.wav(0.1, streaming=True), whole), ("pcm16", whole[44:], whole),
                                       ("wav", b"RI", b"RI"), ("wav", b"", b"")):
            got = self.in_page("""
                const { joinSound, bytesOfBase64, base64OfBytes } = await at('media');
                const bytes = bytesOfBase64(given.data);
                const pieces = [0, 1, 2].map((i) => bytes.slice(i * 1001, i < 2 ? (i + 1) * 1001 : undefined));
                return base64OfBytes(joinSound(pieces, given.format, 24000));""",
                               {"data": base64.b64encode(sent).decode(), "format": format})
            self.assertEqual(base64.b64decode(got), expected)

    def test_turned_photographs_become_upright(self):
        # Orientation 6: the camera was turned by 90 degrees.
        exif = b"Exif\0\0" + b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
        segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
        got = self.in_page("""
            const { pictureOfFile } = await at('media');
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [40, 20];
            const plain = new Uint8Array(await (await new Promise((done) => canvas.toBlob(done, 'image/jpeg'))).arrayBuffer());
            const turned = new Blob([plain.slice(0, 2), Uint8Array.from(given), plain.slice(2)], { type: 'image/jpeg' });
            const sizes = [];
            for (const blob of [new Blob([plain], { type: 'image/jpeg' }), turned]) {
              const part = await pictureOfFile(blob);
              const image = new Image();
              image.src = part.url;
              await image.decode();
              sizes.push([part.width, part.height, image.naturalWidth, image.naturalHeight]);
            }
            return sizes;""", list(segment))
        self.assertEqual(got, [[40, 20, 40, 20], [20, 40, 20, 40]])

    def test_tree_keeps_every_version(self):
        got = self.in_page("""
            const { newConversation, newNode, pathOf, choose, childrenOf, ancestorsOf } = await at('tree');
            const talk = newConversation();
            const nodes = [];
            const add = (name, parent, created) => {
              nodes.push({ ...newNode(talk, parent, 'user', [{ type: 'text', text: name }]), id: name, created }); };
            add('a', null, 1); add('b', 'a', 2); add('c', 'b', 3); add('d', 'a', 4); add('e', null, 5); add('lost', 'nobody', 6);
            const shown = () => pathOf(talk, nodes).map((node) => node.id).join('');
            const paths = [shown()];
            for (const id of ['a', 'b', 'd', 'e']) { choose(talk, nodes.find((node) => node.id === id)); paths.push(shown()); }
            nodes.push({ ...nodes[0], id: 'x', parent: 'y' }, { ...nodes[0], id: 'y', parent: 'x' });
            paths.push(shown(), ancestorsOf(nodes, nodes[2]).map((node) => node.id).join(''),
              String(ancestorsOf(nodes, nodes.at(-1)).length < 20), childrenOf(nodes, null).length);
            return paths;""")
        self.assertEqual(got, ["e", "ad", "abc", "ad", "e", "e", "abc", "true", 2])

    def test_messages_of_other_programs_are_read(self):
        got = self.in_page("""
            const { readFile } = await at('exchange');
            const bare = readFile(JSON.stringify([{ role: 'developer', content: 'Be brief.' }, { role: 'user', content: 'Hi' },
              { role: 'assistant', content: null }, { role: 'tool', content: 'x' }, { role: 'user', content: [{ type: 'text', text: 'So?' }, 7] }]));
            const many = readFile(JSON.stringify({ conversations: [{ messages: [{ role: 'user', content: 'a' }] }, {}, { title: 'T', messages: [{ role: 'user', content: 'b' }] }] }));
            return [bare.length, bare[0].conversation.system, bare[0].conversation.title, bare[0].nodes.map((n) => [n.role, n.parts.length]),
              many.map((one) => one.conversation.title)];""")
        self.assertEqual(got, [1, "Be brief.", "Hi", [["user", 1], ["assistant", 0], ["user", 1]], ["a", "T"]])

    def test_unsafe_addresses(self):
        given = ["javascript:alert(1)", "JAVASCRIPT:x", " data:text/html,x", "vbscript:x", "file:///etc/passwd", "//a.example", "/x",
                 "https://", "blob:https://a.example/1", "https://a.example/ok", "MAILTO:a@b.example"]
        got = self.in_page("const { safeAddress } = await at('markdown'); return given.map(safeAddress);", given)
        self.assertEqual(got, [""] * 9 + ["https://a.example/ok", "mailto:a@b.example"])
