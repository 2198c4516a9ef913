"""The Markdown renderer by itself: what comes in, which elements come out."""
import time

from browser import PageTest

CASES = [
    ("a *b* **c** ***d*** ~~e~~ `f`", "<p>a <em>b</em> <strong>c</strong> <strong><em>d</em></strong> <s>e</s> <code>f</code></p>"),
    ("snake_case_name _em_ __strong__", "<p>snake_case_name <em>em</em> <strong>strong</strong></p>"),
    ("2 * 3 * 4", "<p>2 * 3 * 4</p>"),
    ("**中文。**后面", "<p><strong>中文。</strong>后面</p>"),
    ("**a *b* c**", "<p><strong>a <em>b</em> c</strong></p>"),
    ("*a **b** c*", "<p><em>a <strong>b</strong> c</em></p>"),
    ("**open", "<p>**open</p>"),
    ("\\*plain\\* \\<b>", "<p>*plain* &lt;b&gt;</p>"),
    ("``a ` b``", "<p><code>a ` b</code></p>"),
    ("`**x**`", "<p><code>**x**</code></p>"),
    ("a  \nb\nc", "<p>a  <br>b\nc</p>"),
    ("# One #\n### Three\nend", '<h3 class="heading-1">One</h3><h5 class="heading-3">Three</h5><p>end</p>'),
    ("#no heading", "<p>#no heading</p>"),
    ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
    ("> a\n> b\n\nc", "<blockquote><p>a\nb</p></blockquote><p>c</p>"),
    ("> > deep", "<blockquote><blockquote><p>deep</p></blockquote></blockquote>"),
    ("- a\n- b\n  - c\n- d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>"),
    ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
    ("1. a\n   - b\n   - c\n2. d", "<ol><li>a<ul><li>b</li><li>c</li></ul></li><li>d</li></ol>"),
    ("- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
    ("- a\nlazy", "<ul><li>a\nlazy</li></ul>"),
    ("text\n- a", "<p>text</p><ul><li>a</li></ul>"),
    ("- [x] done\n- [ ] open", '<ul><li class="task"><input type="checkbox" disabled="" checked=""> done</li>'
                               '<li class="task"><input type="checkbox" disabled=""> open</li></ul>'),
    ("<script>x</script>", "<p>&lt;script&gt;x&lt;/script&gt;</p>"),
    ("&amp; &lt;", "<p>&amp;amp; &amp;lt;</p>"),
    ("[x](javascript:alert(1))", "<p>x</p>"),
    ("[x](java\tscript:alert(1))", "<p>[x](java    script:alert(1))</p>"),
    ("![alt](https://a.example/p.png)", "<p>!{a:https://a.example/p.png|alt}</p>".replace("!", "")),
    ("[a](https://a.example/x_(y)) b", "<p>{a:https://a.example/x_(y)|a} b</p>"),
    ("see https://a.example/b?c=1&d=2.", "<p>see {a:https://a.example/b?c=1&amp;d=2|https://a.example/b?c=1&amp;d=2}.</p>"),
    ("(https://a.example/b)", "<p>({a:https://a.example/b|https://a.example/b})</p>"),
    ("<https://a.example/>", "<p>{a:https://a.example/|https://a.example/}</p>"),
    ("[**b**](mailto:a@b.example)", "<p>{a:mailto:a@b.example|<strong>b</strong>}</p>"),
    ("[not](a link", "<p>[not](a link</p>"),
    ("", ""),
    ("\n\n", ""),
]

SHOW = """async (texts) => {
  const { renderMarkdown } = await import('/markdown.js');
  return texts.map((text) => renderMarkdown(text).innerHTML);
}"""


def expected(html):
    import re
    return re.sub(r"\{a:([^|]*)\|(.*?)\}(?!\})", lambda m:
                  f'<a href="{m[1]}" target="_blank" rel="noopener noreferrer nofollow">{m[2]}</a>', html)


class Markdown(PageTest):
    def test_cases(self):
        shown = self.page.evaluate(SHOW, [text for text, _ in CASES])
        for (text, html), got in zip(CASES, shown):
            with self.subTest(text):
                self.assertEqual(got, expected(html))

    def test_table(self):
        html = self.page.evaluate(SHOW, ["| a | b \\| c | `d|e` |\n|:-:|--:|---|\n| 1 | 2 |\n| 3 | 4 | 5 | 6 |\n\nend"])[0]
        self.assertEqual(html, '<div class="table-scroll" tabindex="0"><table><thead><tr><th class="align-center">a</th>'
                         '<th class="align-right">b | c</th><th class="align-left"><code>d|e</code></th></tr></thead><tbody>'
                         '<tr><td class="align-center">1</td><td class="align-right">2</td><td class="align-left"></td></tr>'
                         '<tr><td class="align-center">3</td><td class="align-right">4</td><td class="align-left">5</td></tr>'
                         '</tbody></table></div><p>end</p>')

    def test_code_keeps_every_character(self):
        code = "def f(x):\n\treturn '<b>' + \"\\\"\" # `c`\n\n    ```not the end\n0x1F /* a"
        for language in ("python", "c++", "", "text", "sql", "html", "no<such>"):
            shown = self.page.evaluate("""async ([code, language]) => {
                const { renderMarkdown } = await import('/markdown.js');
                const view = renderMarkdown('~~~' + language + '\\n' + code + '\\n~~~\\nend');
                return [view.querySelector('pre').textContent, view.lastChild.textContent]; }""", [code, language])
            self.assertEqual(shown, [code.replace("\t", "    "), "end"])

    def test_copy_button(self):
        self.say("showcase")
        self.page.get_by_role("button", name="Copy code").click()
        copied = self.page.evaluate("navigator.clipboard.readText()")
        self.assertTrue(copied.startswith("def decode(ids, codec):\n"))
        self.assertTrue(copied.endswith("0.5"))

    def test_growing_text_ends_as_the_whole(self):
        text = "# a\n\nb **c** [d](https://e.example)\n\n- f\n  - g\n\n```py\nh = 1\n```\n\n| i | j |\n|---|---|\n| k | l |\n\nm"
        grown, whole, kept = self.page.evaluate("""async (text) => {
            const { MarkdownView, renderMarkdown } = await import('/markdown.js');
            const view = new MarkdownView();
            let first = null, kept = true;
            for (let n = 0; n <= text.length; n++) {
              view.update(text.slice(0, n));
              if (n === 30) first = view.element.firstChild;
              if (n > 30) kept &&= view.element.firstChild === first;
            }
            return [view.element.innerHTML, renderMarkdown(text).innerHTML, kept]; }""", text)
        self.assertEqual(grown, whole)
        self.assertTrue(kept)

    def test_hostile_texts_take_no_time(self):
        texts = ["*" * 50000, "*a " * 20000, "**a *b " * 10000, "**" + "*a " * 20000 + "**", "[" * 50000, "[a](" * 20000, "`" * 50001 + " `a" * 9999,
                 "> " * 20000 + "x", "- " * 20000 + "x", "_a" * 30000, "|" * 30000 + "\n" + "|-" * 15000, "\\" * 50000,
                 "# a" + " " * 30000 + "b", "h" * 50000, "http://" * 10000, "![" * 30000, "~~a " * 20000, "1. " * 20000, "<" * 50000,
                 "```" + "`" * 20000 + " x`", "a  \n" * 20000, "[[a]" * 15000]
        for text in texts:
            begin = time.time()
            self.page.evaluate("async (text) => { const m = await import('/markdown.js'); m.renderMarkdown(text); }", text)
            self.assertLess(time.time() - begin, 3, text[:12])
