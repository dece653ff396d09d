// Reads pages, one JSON object a line ({"page", "first", "count", "folded", "text"}), and lets every reader look at each.  Prints what
// is wrong, and as the last line "N passed, M failed": one check is one page seen by one reader.
import readline from "node:readline";
import { readers } from "./outline.mjs";

const FOLDED = /^<details>\n<summary>Prompt( of all items)?<\/summary>$/;

const expected = (first, count) => {
  const outline = [["h1", "Completions Only"], ["hr", ""]];
  for (let number = first; number < first + count; number += 1) outline.push(["h2", `Completion ${number}`], ["hr", ""]);
  return JSON.stringify(outline);
};

// Prompts are folded in HTML of the page's own: so many openings, so many ends, and nothing else.
const foreign = (active, folded) => {
  const own = active.map((html) => html.trim()).filter((html) => FOLDED.test(html) || html === "</details>");
  const openings = own.filter((html) => html !== "</details>").length;
  return own.length < active.length || openings !== folded || own.length !== 2 * folded;
};

const faults = (seen, { first = 1, count, folded = 0 }) => {
  const top = seen.outline.filter((block) => block.depth === 0).map((block) => [block.tag, block.text]);
  return [
    JSON.stringify(top) === expected(first, count) ? "" : `outline: ${JSON.stringify(top).slice(0, 300)}`,
    foreign(seen.active, folded) ? `raw HTML or images: ${JSON.stringify(seen.active)}` : "",
    seen.defined.length ? `defined: ${seen.defined}` : "",
  ].filter(Boolean);
};

let passed = 0;
let failed = 0;
for await (const line of readline.createInterface({ input: process.stdin })) {
  const made = JSON.parse(line);
  for (const [name, read] of Object.entries(readers)) {
    const found = faults(read(made.page), made);
    if (found.length) {
      failed += 1;
      if (failed <= 20) console.log(`${name}: ${JSON.stringify(made.text)}: ${found.join("; ")}`);
    } else passed += 1;
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
