// Finds the call in a piece of Python that asks for a picture, and reads its literals. Runs nothing: names stay unknown.

const CALLS = /\b(generate|inpaint|outpaint|ultra|core|structure|sketch|post)\s*\(/g;
const ESCAPES = { n: "\n", t: "\t", r: "\r", "'": "'", '"': '"', "\\": "\\", "\n": "" };

/** What is no literal: a name, a call, a calculation. */
export const UNKNOWN = Symbol("unknown");

/** Return {name, args, named} of the first call with a prompt in it, or null. */
export function pythonCall(text) {
  for (const found of text.matchAll(CALLS)) {
    const reader = new Reader(text, found.index + found[0].length);
    try {
      const { args, named } = reader.args();
      const words = [...args, ...Object.values(named), ...Object.values(named.data || {}), ...Object.values(named.json || {})];
      if (words.some((word) => typeof word === "string")) return { name: found[1], args, named };
    } catch {
      // Not the call that was meant, or broken code.
    }
  }
  return null;
}

class Reader {
  constructor(text, at) {
    this.text = text;
    this.at = at;
  }

  skip() {
    for (;;) {
      while (/\s/.test(this.text[this.at] ?? "")) this.at += 1;
      if (this.text[this.at] !== "#") return this.text[this.at];
      while (this.at < this.text.length && this.text[this.at] !== "\n") this.at += 1;
    }
  }

  args() {
    const args = [];
    const named = {};
    while (this.skip() !== ")") {
      if (this.at >= this.text.length) throw new SyntaxError("a bracket is not closed");
      const name = /^(\w+)\s*=(?!=)/.exec(this.text.slice(this.at, this.at + 200));
      if (name) {
        this.at += name[0].length;
        const value = this.value();
        if (value !== UNKNOWN && value !== null) named[name[1]] = value;
        else if (value === UNKNOWN && ["image", "mask", "files"].includes(name[1])) named[name[1]] = true;
      } else args.push(this.value());
      if (this.skip() === ",") this.at += 1;
    }
    return { args, named };
  }

  /** Read one value; what is no literal is passed over up to the next comma or bracket of the same depth. */
  value() {
    const start = this.skip();
    const string = /^[rRbBuUfF]{0,2}("""|'''|"|')/.exec(this.text.slice(this.at, this.at + 5));
    let value = UNKNOWN;
    const number = /^[-+]?(\d[\d_]*\.?[\d_]*(?:[eE][-+]?\d+)?|\.\d+)/.exec(this.text.slice(this.at, this.at + 60));
    const word = /^(True|False|None)\b/.exec(this.text.slice(this.at, this.at + 6));
    if (string) value = this.string();
    else if (number) {
      this.at += number[0].length;
      value = number[0].replaceAll("_", "");
      if (value.replace("-", "").length < 16) value = Number(value);
    } else if (word) {
      this.at += word[0].length;
      value = { True: true, False: false, None: null }[word[1]];
    } else if (start === "{") value = this.dict();
    else if (start === "[" || start === "(") value = this.list(start === "[" ? "]" : ")");
    return this.rest() ? UNKNOWN : value;
  }

  /** Pass over what follows a value before the next comma; return whether there was anything. */
  rest() {
    let depth = 0;
    let any = false;
    for (;;) {
      const char = this.skip();
      if (char === undefined) return any;
      if (!depth && ",)]}:".includes(char)) return any;
      if ("([{".includes(char)) depth += 1;
      if (")]}".includes(char)) depth -= 1;
      any = true;
      if (/^["']/.test(char)) this.string();
      else this.at += 1;
    }
  }

  string() {
    let value = "";
    for (;;) {
      const head = /^([rRbBuUfF]{0,2})("""|'''|"|')/.exec(this.text.slice(this.at, this.at + 5));
      if (!head) return value;
      const [all, prefix, quote] = head;
      this.at += all.length;
      const isRaw = /r/i.test(prefix);
      while (!this.text.startsWith(quote, this.at)) {
        const char = this.text[this.at];
        if (char === undefined) throw new SyntaxError("a string is not closed");
        if (char === "\\" && !isRaw) value += this.escape();
        else {
          value += char;
          this.at += 1;
        }
      }
      this.at += quote.length;
      this.skip(); // strings side by side are one
    }
  }

  escape() {
    const code = /^\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2}))/.exec(this.text.slice(this.at, this.at + 10));
    if (code) {
      this.at += code[0].length;
      return String.fromCodePoint(parseInt(code[1] || code[2] || code[3], 16));
    }
    const char = this.text[this.at + 1];
    this.at += 2;
    return ESCAPES[char] ?? `\\${char}`;
  }

  dict() {
    const found = {};
    this.at += 1;
    while (this.skip() !== "}") {
      if (this.at >= this.text.length) throw new SyntaxError("a bracket is not closed");
      const key = this.value();
      if (this.skip() === ":") this.at += 1;
      const value = this.value();
      if (typeof key === "string" && value !== UNKNOWN && value !== null) found[key] = value;
      if (this.skip() === ",") this.at += 1;
    }
    this.at += 1;
    return found;
  }

  list(end) {
    const found = [];
    this.at += 1;
    while (this.skip() !== end) {
      if (this.at >= this.text.length) throw new SyntaxError("a bracket is not closed");
      found.push(this.value());
      if (this.skip() === ",") this.at += 1;
    }
    this.at += 1;
    return found.length === 1 && end === ")" ? found[0] : found;
  }
}
