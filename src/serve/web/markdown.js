// A small, safe Markdown renderer for replies that are still growing: paragraphs, headings, lists (nested, numbered,
// tasks), quotes, tables, rules, fenced code, and inline code, emphasis, strike, links. It follows CommonMark where that
// is cheap; raw HTML stays text, and only http, https and mailto addresses become links. Everything is built as DOM nodes.
import { h, icon, copyText } from './dom.js';
import { highlight } from './highlight.js';
import { t } from './i18n.js';

const kMaxDepth = 8;
const kMaxLabel = 2000;

// ---- blocks: lines -> [{type, …}] ----

const kFence = /^( {0,3})(`{3,}|~{3,})\s*([^`]*)$/;
const kHeading = /^ {0,3}(#{1,6})(?:\s+(\S.*))?\s*$/;
const kRule = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const kQuote = /^ {0,3}> ?(.*)$/;
const kItem = /^(\s*)([-*+]|\d{1,9}[.)])(?:(\s+)(.*))?$/;
const kTableRule = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

const indentOf = (line) => line.length - line.trimStart().length;
const isBlank = (line) => line.trim() === '';

function startsBlock(line) {
  return kFence.test(line) || kHeading.test(line) || kRule.test(line) || kQuote.test(line) ||
    (kItem.test(line) && indentOf(line) < 4 && /\S/.test(line.replace(kItem, '$4')));
}

function takeFence(lines, at) {
  const [, indent, fence, info] = kFence.exec(lines[at]);
  const close = new RegExp(`^ {0,3}${fence[0] === '`' ? '`' : '~'}{${fence.length},}\\s*$`);
  let end = at + 1;
  while (end < lines.length && !close.test(lines[end])) end++;
  const code = lines.slice(at + 1, end).map((line) => line.slice(Math.min(indent.length, indentOf(line))));
  return { block: { type: 'code', language: info.trim().split(/\s+/)[0], text: code.join('\n') }, next: Math.min(end + 1, lines.length) };
}

function takeQuote(lines, at) {
  const inner = [];
  let i = at;
  for (; i < lines.length && !isBlank(lines[i]); i++) {
    const match = kQuote.exec(lines[i]);
    if (!match && startsBlock(lines[i])) break;
    inner.push(match ? match[1] : lines[i]);
  }
  return { block: { type: 'quote', lines: inner }, next: i };
}

// An item reaches as far as lines are indented to its text, or continue its paragraph.
function takeList(lines, at) {
  const [, , marker] = kItem.exec(lines[at]);
  const ordered = /\d/.test(marker);
  const list = { type: 'list', ordered, start: ordered ? parseInt(marker, 10) : 1, items: [], loose: false };
  const kind = marker.at(-1);
  let i = at;
  while (i < lines.length) {
    const match = kItem.exec(lines[i]);
    if (!match || match[2].at(-1) !== kind || kRule.test(lines[i]) || indentOf(lines[i]) > indentOf(lines[at]) + 3) break;
    const spaces = match[3] === undefined || match[3].length > 4 ? 1 : match[3].length;
    const width = match[1].length + match[2].length + spaces;
    const inner = [match[4] ?? ''];
    let blank = false;
    for (i++; i < lines.length; i++) {
      const line = lines[i];
      if (isBlank(line)) {
        blank = true;
        inner.push('');
        continue;
      }
      // Models indent less than they should; two columns count as belonging to the item.
      const belongs = indentOf(line) >= Math.min(width, match[1].length + 2);
      if (!belongs && (blank || startsBlock(line))) break;
      if (blank && belongs) list.loose = list.loose || !kItem.test(line);
      inner.push(line.slice(Math.min(width, indentOf(line))));
      blank = false;
    }
    if (blank && i < lines.length && kItem.test(lines[i]) && kItem.exec(lines[i])[2].at(-1) === kind) list.loose = true;
    while (inner.length && isBlank(inner.at(-1))) inner.pop();
    list.items.push(inner);
  }
  return { block: list, next: i };
}

// Cells of a row; "\|" and bars in code do not separate.
function cellsOf(line) {
  const cells = [];
  let cell = '';
  let code = false;
  const row = line.trim().replace(/^\|/, '');
  for (let i = 0; i < row.length; i++) {
    if (row[i] === '\\' && row[i + 1] === '|') cell += row[++i];
    else if (row[i] === '|' && !code) {
      cells.push(cell.trim());
      cell = '';
    } else {
      if (row[i] === '`') code = !code && row.indexOf('`', i + 1) > 0;
      cell += row[i];
    }
  }
  if (cell.trim()) cells.push(cell.trim());
  return cells;
}

function takeTable(lines, at) {
  const aligns = cellsOf(lines[at + 1]).map((rule) =>
    rule.endsWith(':') ? (rule.startsWith(':') ? 'center' : 'right') : 'left');
  const rows = [];
  let i = at + 2;
  for (; i < lines.length && lines[i].includes('|') && !isBlank(lines[i]); i++) rows.push(cellsOf(lines[i]));
  return { block: { type: 'table', aligns, head: cellsOf(lines[at]), rows }, next: i };
}

function isTable(lines, at) {
  return lines[at].includes('|') && at + 1 < lines.length && lines[at + 1].includes('-') && lines[at + 1].length < 2000 &&
    kTableRule.test(lines[at + 1]) && cellsOf(lines[at]).length === cellsOf(lines[at + 1]).length;
}

function takeParagraph(lines, at) {
  let i = at + 1;
  while (i < lines.length && !isBlank(lines[i]) && !startsBlock(lines[i]) && !isTable(lines, i)) i++;
  return { block: { type: 'paragraph', text: lines.slice(at, i).map((line) => line.trimStart()).join('\n') }, next: i };
}

function takeBlock(lines, at) {
  const line = lines[at];
  if (kFence.test(line)) return takeFence(lines, at);
  const heading = kHeading.exec(line);
  if (heading) return { block: { type: 'heading', level: heading[1].length, text: (heading[2] ?? '').trimEnd().replace(/(^|\s)#+$/, '') }, next: at + 1 };
  if (kRule.test(line)) return { block: { type: 'rule' }, next: at + 1 };
  if (kQuote.test(line)) return takeQuote(lines, at);
  if (kItem.test(line)) return takeList(lines, at);
  if (isTable(lines, at)) return takeTable(lines, at);
  return takeParagraph(lines, at);
}

/// Top-level blocks, each with the lines it came from in `source`.
export function parseBlocks(text) {
  const lines = text.replace(/\r\n?/g, '\n').replace(/\t/g, '    ').split('\n');
  const blocks = [];
  for (let at = 0; at < lines.length;) {
    if (isBlank(lines[at])) {
      at++;
      continue;
    }
    const { block, next } = takeBlock(lines, at);
    block.source = lines.slice(at, next).join('\n');
    blocks.push(block);
    at = next;
  }
  return blocks;
}

// ---- inline: text -> nodes ----

/// The address when it may be followed, else ''.
export function safeAddress(address) {
  const trimmed = address.trim();
  if (!/^(https?:\/\/|mailto:)/i.test(trimmed)) return '';
  try {
    const url = new URL(trimmed);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : '';
  } catch {
    return '';
  }
}

const link = (address, ...children) =>
  h('a', { href: address, target: '_blank', rel: 'noopener noreferrer nofollow' }, ...children);

const kLink = /\[((?:[^\[\]\\]|\\.|\[[^\[\]]*\])*)\]\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\([^\s()]*\))*))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/y;
const kBare = /https?:\/\/[^\s<>"'`，。；：！？、）】」』]+/y;
const kAngle = /<((?:https?:\/\/|mailto:)[^\s<>]+)>/y;
const kSpecial = /[\\`*_~\[!<h\n]/g;

const isSpace = (character) => character === undefined || /\s/.test(character);
const isWord = (character) => character !== undefined && /[\p{L}\p{N}]/u.test(character);

function matchAt(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

class Inline {
  constructor(text) {
    this.text = text;
    // From where on a delimiter has no closing partner: keeps a hundred thousand stray stars linear.
    this.none = new Map();
  }

  nodes(from, to, depth) {
    const out = [];
    let plain = from;
    let at = from;
    const flush = (end) => { if (end > plain) out.push(this.text.slice(plain, end)); };
    while (at < to) {
      kSpecial.lastIndex = at;
      const special = kSpecial.exec(this.text);
      if (!special || special.index >= to) break;
      at = special.index;
      const found = this.special(special[0], at, to, depth);
      if (!found) {
        at += 1;
        continue;
      }
      flush(at);
      out.push(...found.nodes);
      at = plain = found.next;
    }
    flush(to);
    return out;
  }

  special(character, at, to, depth) {
    const { text } = this;
    if (character === '\n') return { nodes: [/ {2,}$/.test(text.slice(Math.max(0, at - 3), at)) ? h('br') : '\n'], next: at + 1 };
    if (character === '\\') return this.escape(at, to);
    if (character === '`') return this.code(at, to);
    if (character === 'h' || character === '<') return this.bare(character, at, to);
    if (character === '[') return this.link(at, to, depth);
    if (character === '!') return text[at + 1] === '[' ? this.link(at + 1, to, depth) : null;
    return depth < kMaxDepth ? this.emphasis(character, at, to, depth) : null;
  }

  escape(at, to) {
    const next = this.text[at + 1];
    if (at + 1 >= to) return null;
    if (next === '\n') return { nodes: [h('br')], next: at + 2 };
    return /[!-/:-@[-`{-~]/.test(next) ? { nodes: [next], next: at + 2 } : null;
  }

  code(at, to) {
    let run = at;
    while (run < to && this.text[run] === '`') run++;
    const fence = this.text.slice(at, run);
    const key = `\`${fence.length}`;
    if (this.none.has(key)) return { nodes: [fence], next: run };
    let close = this.text.indexOf(fence, run);
    while (close >= 0 && (this.text[close + fence.length] === '`' || this.text[close - 1] === '`')) {
      while (this.text[close] === '`') close++;
      close = this.text.indexOf(fence, close);
    }
    if (close < 0) this.none.set(key, true);
    if (close < 0 || close + fence.length > to) return { nodes: [fence], next: run };
    let code = this.text.slice(run, close).replace(/\n/g, ' ');
    if (/^ .*[^ ].* $/.test(code)) code = code.slice(1, -1);
    return { nodes: [h('code', {}, code)], next: close + fence.length };
  }

  bare(character, at, to) {
    const match = character === '<' ? matchAt(kAngle, this.text, at)
      : isWord(this.text[at - 1]) ? null : matchAt(kBare, this.text, at);
    if (!match) return null;
    let shown = character === '<' ? match[1] : match[0].replace(/[.,;:!?*_~]+$/, '');
    if (character === 'h' && shown.endsWith(')') && !shown.includes('(')) shown = shown.replace(/\)+$/, '');
    const end = at + (character === '<' ? match[0].length : shown.length);
    const address = safeAddress(shown);
    return address && end <= to ? { nodes: [link(address, shown)], next: end } : null;
  }

  // Pictures are links too: the page loads nothing from elsewhere.
  link(at, to, depth) {
    const part = this.text.slice(at, Math.min(to, at + kMaxLabel));
    const match = depth < kMaxDepth ? matchAt(kLink, part, 0) : null;
    if (!match) return null;
    const label = new Inline(match[1]).nodes(0, match[1].length, depth + 1);
    const target = (match[2] ?? match[3]).replace(/\\([!-/:-@[-`{-~])/g, '$1');
    const address = safeAddress(target);
    const nodes = address ? [link(address, label.length ? label : address)] : label;
    return { nodes, next: at + match[0].length };
  }

  emphasis(character, at, to, depth) {
    let run = at;
    while (run < to && this.text[run] === character) run++;
    const count = run - at;
    const skip = { nodes: [this.text.slice(at, run)], next: run };
    if (isSpace(this.text[run]) || count > 3 || (character === '~' && count !== 2)) return skip;
    if (character === '_' && isWord(this.text[at - 1])) return skip;
    const close = this.closing(character, count, run, to);
    if (close < 0) return skip;
    const inner = this.nodes(run, close, depth + 1);
    const node = character === '~' ? h('s', {}, inner)
      : count === 1 ? h('em', {}, inner)
        : count === 2 ? h('strong', {}, inner) : h('strong', {}, h('em', {}, inner));
    return { nodes: [node], next: close + count };
  }

  closing(character, count, from, to) {
    const key = `${character}${count}:${to}`;
    if (from >= (this.none.get(key) ?? Infinity)) return -1;
    for (let i = from; i < to; i++) {
      if (this.text[i] === '\\') {
        i++;
        continue;
      }
      if (this.text[i] === '`') {
        const end = this.text.indexOf('`', i + 1);
        if (end > 0 && end < to) i = end;
        continue;
      }
      if (this.text[i] !== character) continue;
      let run = i;
      while (run < to && this.text[run] === character) run++;
      const fits = run - i === count || (count < 3 && run - i === 3);
      const wordAfter = character === '_' && isWord(this.text[run]);
      if (fits && !isSpace(this.text[i - 1]) && !wordAfter) return run - i === 3 && count < 3 ? run - count : i;
      i = run - 1;
    }
    this.none.set(key, Math.min(from, this.none.get(key) ?? Infinity));
    return -1;
  }
}

export const renderInline = (text) => new Inline(text).nodes(0, text.length, 0);

// ---- blocks -> elements ----

function renderCode(block) {
  const copy = h('button', { type: 'button', class: 'icon-button', 'aria-label': t('copy_code'), title: t('copy_code'),
    onclick: () => copyText(block.text, copy) }, icon('copy'));
  return h('figure', { class: 'code' },
    h('figcaption', {}, h('span', {}, block.language.slice(0, 30)), copy),
    h('pre', { tabindex: '0' }, h('code', {}, highlight(block.text, block.language))));
}

function renderTable(block) {
  const row = (tag, cells) => h('tr', {}, block.aligns.map((align, i) =>
    h(tag, { class: `align-${align}` }, renderInline(cells[i] ?? ''))));
  return h('div', { class: 'table-scroll', tabindex: '0' }, h('table', {},
    h('thead', {}, row('th', block.head)),
    h('tbody', {}, block.rows.map((cells) => row('td', cells)))));
}

function renderItem(lines, loose, depth) {
  const task = /^\[([ xX])\]\s+/.exec(lines[0]);
  if (task) lines = [lines[0].slice(task[0].length), ...lines.slice(1)];
  const blocks = depth < kMaxDepth ? parseBlocks(lines.join('\n')) : [{ type: 'paragraph', text: lines.join('\n') }];
  const children = blocks.map((block) =>
    (block.type === 'paragraph' && !loose ? renderInline(block.text) : renderBlock(block, depth + 1)));
  if (task) children.unshift(h('input', { type: 'checkbox', disabled: true, checked: task[1] !== ' ' }), ' ');
  return h('li', { class: task ? 'task' : null }, children);
}

function renderBlock(block, depth) {
  switch (block.type) {
    case 'heading': return h(`h${Math.min(6, block.level + 2)}`, { class: `heading-${block.level}` }, renderInline(block.text));
    case 'rule': return h('hr');
    case 'code': return renderCode(block);
    case 'table': return renderTable(block);
    case 'quote': {
      const inner = block.lines.join('\n');
      return h('blockquote', {}, depth < kMaxDepth ? parseBlocks(inner).map((b) => renderBlock(b, depth + 1)) : inner);
    }
    case 'list': return h(block.ordered ? 'ol' : 'ul', { start: block.ordered && block.start !== 1 ? block.start : null },
      block.items.map((lines) => renderItem(lines, block.loose, depth)));
    default: return h('p', {}, renderInline(block.text));
  }
}

/// Markdown in an element that may be updated as the text grows: blocks whose source is unchanged keep their elements,
/// so that selections, scroll positions and open code survive.
export class MarkdownView {
  constructor() {
    this.element = h('div', { class: 'markdown' });
    this.sources = [];
  }

  update(text) {
    const blocks = parseBlocks(text);
    let same = 0;
    while (same < blocks.length && blocks[same].source === this.sources[same]) same++;
    while (this.element.children.length > same) this.element.lastChild.remove();
    for (const block of blocks.slice(same)) this.element.append(renderBlock(block, 0));
    this.sources = blocks.map((block) => block.source);
  }
}

/// A finished text as an element.
export function renderMarkdown(text) {
  const view = new MarkdownView();
  view.update(text);
  return view.element;
}
