// Reads pages, one JSON object a line ({"page", "count", "text"}), and lets every reader look at each.  Prints what
// is wrong, and as the last line "N passed, M failed": one check is one page seen by one reader.
import readline from "node:readline";
import { readers } from "./outline.mjs";

const expected = (count) => {
  const outline = [["h1", "Completions Only"], ["hr", ""]];
  for (let number = 1; number <= count; number += 1) outline.push(["h2", `Completion ${number}`], ["hr", ""]);
  return JSON.stringify(outline);
};

const faults = (seen, count) => {
  const top = seen.outline.filter((block) => block.depth === 0).map((block) => [block.tag, block.text]);
  return [
    JSON.stringify(top) === expected(count) ? "" : `outline: ${JSON.stringify(top).slice(0, 300)}`,
    seen.active.length ? `raw HTML or images: ${JSON.stringify(seen.active)}` : "",
    seen.defined.length ? `defined: ${seen.defined}` : "",
  ].filter(Boolean);
};

let passed = 0;
let failed = 0;
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { page, count, text } = JSON.parse(line);
  for (const [name, read] of Object.entries(readers)) {
    const found = faults(read(page), count);
    if (found.length) {
      failed += 1;
      if (failed <= 20) console.log(`${name}: ${JSON.stringify(text)}: ${found.join("; ")}`);
    } else passed += 1;
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
