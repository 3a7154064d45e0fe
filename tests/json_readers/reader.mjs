// Reads JSON documents as JavaScript's clients do. Gives one answer a line, for each document in hexadecimal on standard
// input: what stands at the path that the arguments name, in one form, or that the document is unreadable.
import { readFileSync } from "node:fs";

const path = process.argv.slice(2);

const inOneForm = (value) => {
  if (Array.isArray(value)) return `[${value.map(inOneForm).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${inOneForm(value[key])}`).join(",")}}`;
};

const read = (document) => {
  try {
    const value = JSON.parse(new TextDecoder().decode(document));
    return inOneForm(path.reduce((value, step) => value?.[step], value) ?? null);
  } catch {
    return "unreadable";
  }
};

const lines = readFileSync(0, "utf8").split("\n");
for (const line of lines.slice(0, -1)) console.log(read(Buffer.from(line, "hex")));
