// What each reader sees of a page: headings and rules with the number of blocks around them, what would load or
// act (raw HTML, images), and what is defined.  One function a reader, all of one shape.
import * as commonmark from "commonmark";
import MarkdownIt from "markdown-it";
import { Lexer } from "marked";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";

const empty = () => ({ outline: [], active: [], defined: [] });

function byCommonmark(page) {
  const seen = empty();
  const parser = new commonmark.Parser();
  const walker = parser.parse(page).walker();
  let depth = -1;
  let heading = null;
  for (let event; (event = walker.next()); ) {
    const { node, entering } = event;
    if (node.isContainer) depth += entering ? 1 : -1;
    if (node.type === "heading") {
      heading = entering ? { tag: `h${node.level}`, depth: depth - 1, text: "" } : null;
      if (heading) seen.outline.push(heading);
    } else if (node.type === "thematic_break") seen.outline.push({ tag: "hr", depth, text: "" });
    else if (/^html|^image$/.test(node.type) && entering) seen.active.push(node.literal ?? "image");
    if (heading && node.literal) heading.text += node.literal;
  }
  seen.defined = Object.keys(parser.refmap ?? {});
  return seen;
}

const byMarkdownIt = (preset, options) => (page) => {
  const seen = empty();
  const env = {};
  const tokens = new MarkdownIt(preset, options).parse(page, env);
  tokens.forEach((token, at) => {
    if (token.type === "heading_open")
      seen.outline.push({ tag: token.tag, depth: token.level, text: tokens[at + 1].content });
    else if (token.type === "hr") seen.outline.push({ tag: "hr", depth: token.level, text: "" });
    for (const part of [token, ...(token.children ?? [])]) {
      if (/^html|^image$/.test(part.type)) seen.active.push(part.content);
    }
  });
  seen.defined = Object.keys(env.references ?? {});
  return seen;
};

function byMarked(page) {
  const seen = empty();
  const tokens = Lexer.lex(page, { gfm: true });
  const look = (token, depth) => {
    if (token.type === "heading") seen.outline.push({ tag: `h${token.depth}`, depth, text: token.text });
    else if (token.type === "hr") seen.outline.push({ tag: "hr", depth, text: "" });
    else if (token.type === "html" || token.type === "image") seen.active.push(token.raw);
    else if (token.type === "def") seen.defined.push(token.tag);
    const inner = [...(token.tokens ?? []), ...(token.items ?? [])];
    for (const row of token.type === "table" ? [token.header, ...token.rows] : [])
      for (const cell of row) inner.push(...cell.tokens);
    for (const child of inner) look(child, depth + 1);
  };
  for (const token of tokens) look(token, 0);
  return seen;
}

const byMicromark = (extended) => (page) => {
  const seen = empty();
  const options = extended ? { extensions: [gfm()], mdastExtensions: [gfmFromMarkdown()] } : {};
  const textOf = (node) => node.value ?? (node.children ?? []).map(textOf).join("");
  const look = (node, depth) => {
    if (node.type === "heading") seen.outline.push({ tag: `h${node.depth}`, depth, text: textOf(node) });
    else if (node.type === "thematicBreak") seen.outline.push({ tag: "hr", depth, text: "" });
    else if (node.type === "html" || /^image/.test(node.type)) seen.active.push(node.value ?? "image");
    else if (/efinition$/.test(node.type)) seen.defined.push(node.label);
    for (const child of node.children ?? []) look(child, depth + 1);
  };
  for (const node of fromMarkdown(page, options).children) look(node, 0);
  return seen;
};

export const readers = {
  "commonmark.js": byCommonmark,
  "markdown-it commonmark": byMarkdownIt("commonmark", {}),
  "markdown-it default": byMarkdownIt("default", { html: true }),
  "markdown-it like GFM": byMarkdownIt("default", { html: true, linkify: true }),
  marked: byMarked,
  micromark: byMicromark(false),
  "micromark gfm": byMicromark(true),
};
