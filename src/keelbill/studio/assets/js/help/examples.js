// The first call in several languages, as text. Knows no element of the page.

/** Names of the examples with how to prepare for each. */
export const EXAMPLES = {
  curl: { title: "curl", install: "" },
  python: { title: "Python", install: "pip install keelbill" },
  httpx: { title: "Python, httpx", install: "pip install httpx" },
  openai: { title: "Python, openai", install: "pip install openai" },
  javascript: { title: "JavaScript", install: "" },
  go: { title: "Go", install: "" },
  cli: { title: "Keelbill CLI", install: "pip install keelbill" },
};

const PROMPT = "a red apple on a wooden table";

const WRITERS = {
  curl: (origin, key) => `curl --fail-with-body ${origin}/v2beta/stable-image/generate/sd3 \\
  --header "authorization: Bearer ${key}" \\
  --header "accept: image/*" \\
  --form prompt="${PROMPT}" \\
  --output picture.png`,
  python: (origin, key) => `from keelbill.client import Client

client = Client(base_url="${origin}", api_key="${key}")
picture = client.generate("${PROMPT}")
picture.save("picture.png")`,
  httpx: (origin, key) => `import httpx

answer = httpx.post(
    "${origin}/v2beta/stable-image/generate/sd3",
    headers={"authorization": "Bearer ${key}", "accept": "image/*"},
    files={"none": ""},
    data={"prompt": "${PROMPT}"},
    timeout=120,
)
answer.raise_for_status()
open("picture.png", "wb").write(answer.content)`,
  openai: (origin, key) => `import base64

from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key="${key}")
made = client.images.generate(model="sd3.5-large", prompt="${PROMPT}", size="1024x1024")
open("picture.png", "wb").write(base64.b64decode(made.data[0].b64_json))`,
  javascript: (origin, key) => `import { writeFile } from "node:fs/promises";

const form = new FormData();
form.append("prompt", "${PROMPT}");
const answer = await fetch("${origin}/v2beta/stable-image/generate/sd3", {
  method: "POST",
  headers: { authorization: "Bearer ${key}", accept: "image/*" },
  body: form,
});
if (!answer.ok) throw new Error(await answer.text());
await writeFile("picture.png", Buffer.from(await answer.arrayBuffer()));`,
  go: (origin, key) => `package main

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"os"
)

func main() {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	form.WriteField("prompt", "${PROMPT}")
	form.Close()
	request, _ := http.NewRequest("POST", "${origin}/v2beta/stable-image/generate/sd3", &body)
	request.Header.Set("authorization", "Bearer ${key}")
	request.Header.Set("accept", "image/*")
	request.Header.Set("content-type", form.FormDataContentType())
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		panic(answer.Status)
	}
	file, _ := os.Create("picture.png")
	defer file.Close()
	io.Copy(file, answer.Body)
}`,
  cli: (origin, key) => `export KEELBILL_API_KEY=${key}
keelbill generate "${PROMPT}" --server ${origin} --output picture.png`,
};

/** Return an example for a server and a key. */
export function exampleFor(name, origin, key) {
  return WRITERS[name](origin, key);
}
