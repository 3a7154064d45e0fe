// Reads JSON documents as JavaScript's clients do. Gives one answer a line for each line of standard input, which names a
// path, with slashes, and behind a space the document in hexadecimal: what stands at the path, in one form, or that the
// document is unreadable.
import { createInterface } from "node:readline";

const inOneForm = (value) => {
  if (Array.isArray(value)) return `[${value.map(inOneForm).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${inOneForm(value[key])}`).join(",")}}`;
};

const read = (document, path) => {
  try {
    const value = JSON.parse(new TextDecoder().decode(document));
    return inOneForm(path.reduce((value, step) => value?.[step], value) ?? null);
  } catch {
    return "unreadable";
  }
};

for await (const line of createInterface({ input: process.stdin })) {
  const [path, document] = line.split(" ");
  console.log(read(Buffer.from(document, "hex"), path ? path.split("/") : []));
}
