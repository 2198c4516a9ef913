// Colours for code in replies: one lexer for all languages that tells comments, strings, numbers and common keywords
// apart. It may be wrong about a language's rare corners, never about the text, which it only splits.
import { h } from './dom.js';

const kKeywords = new Set(('abstract and as assert async await begin break case catch class const continue def default defer del delete do ' +
  'done elif else elseif end enum except explicit export extends extern false fi final finally fn for foreach from func function ' +
  'global go goto if impl implements import in include inline instanceof interface is lambda let loop match mod module mut ' +
  'namespace new nil none None not null nullptr of operator or override package pass private protected pub public raise ' +
  'return self static struct super switch template then this throw throws trait true True False try type typedef typename ' +
  'typeof undefined union unless until use using val var virtual void when where while with yield auto bool char double ' +
  'float int long short signed unsigned size_t string echo local select insert update create table values set join group ' +
  'order by limit').split(' '));

const kHashComments = /^(py|python|sh|bash|shell|zsh|rb|ruby|yaml|yml|toml|r|perl|pl|make|makefile|cmake|dockerfile|conf|ini)$/i;
const kPlain = /^(|text|txt|plain|output|console|log)$/i;
const kMaxLength = 60000;

function lexer(language) {
  const comment = kHashComments.test(language) ? '#[^\\n]*'
    : /^(sql|lua|haskell|hs)$/i.test(language) ? '--[^\\n]*'
      : /^(html|xml|svg|markdown|md)$/i.test(language) ? '<!--[^]*?(?:-->|$)'
        : '//[^\\n]*|/\\*[^]*?(?:\\*/|$)';
  const strings = '"(?:[^"\\\\\\n]|\\\\.)*"?|\'(?:[^\'\\\\\\n]|\\\\.)*\'?|`(?:[^`\\\\]|\\\\.)*`?';
  return new RegExp(`(${comment})|(${strings})|(\\b\\d[\\w.]*)|([A-Za-z_]\\w*)`, 'g');
}

/// Nodes of the code: text and spans of class code-comment, code-string, code-number, code-keyword, code-call.
export function highlight(text, language) {
  if (kPlain.test(language) || text.length > kMaxLength) return [text];
  const nodes = [];
  let plain = 0;
  for (const match of text.matchAll(lexer(language))) {
    const [whole, comment, string, number, word] = match;
    const kind = comment ? 'comment' : string ? 'string' : number ? 'number'
      : kKeywords.has(word) ? 'keyword' : text[match.index + whole.length] === '(' ? 'call' : '';
    if (!kind) continue;
    if (match.index > plain) nodes.push(text.slice(plain, match.index));
    nodes.push(h('span', { class: `code-${kind}` }, whole));
    plain = match.index + whole.length;
  }
  if (plain < text.length) nodes.push(text.slice(plain));
  return nodes;
}
