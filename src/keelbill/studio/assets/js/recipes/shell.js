// Splits a command into words as a POSIX shell does, as far as people paste it. Runs nothing and expands nothing.

const ESCAPES = { n: "\n", t: "\t", r: "\r", "'": "'", '"': '"', "\\": "\\" };

/** Return the words of a command; a quote that is never closed is an error. */
export function shellWords(text) {
  const words = [];
  let word = null;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "\\") {
      at += 1;
      if (text[at] === "\r" && text[at + 1] === "\n") at += 1;
      else if (text[at] !== "\n") word = (word ?? "") + (text[at] ?? "");
    } else if (char === "'" || (char === "$" && text[at + 1] === "'")) {
      const isEscaped = char === "$";
      at += isEscaped ? 2 : 1;
      word ??= "";
      while (text[at] !== "'") {
        if (at >= text.length) throw new SyntaxError("a quote is not closed");
        if (isEscaped && text[at] === "\\") word += ESCAPES[text[++at]] ?? text[at];
        else word += text[at];
        at += 1;
      }
    } else if (char === '"') {
      at += 1;
      word ??= "";
      while (text[at] !== '"') {
        if (at >= text.length) throw new SyntaxError("a quote is not closed");
        if (text[at] === "\\" && '"\\$`\n'.includes(text[at + 1])) {
          at += 1;
          if (text[at] !== "\n") word += text[at];
        } else word += text[at];
        at += 1;
      }
    } else if (/\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
    } else if (char === "#" && word === null) {
      while (at < text.length && text[at] !== "\n") at += 1;
    } else word = (word ?? "") + char;
  }
  if (word !== null) words.push(word);
  return words;
}
