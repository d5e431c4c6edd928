"""OpenAI's own package for Node against a live Agoge."""

from __future__ import annotations

import json
from typing import Any

from tests.clients import node
from tests.clients.asked import CASES, DIRECTIVE, PHYSICS, SKY, weights

HEAD = """\
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "none", maxRetries: 0 });
const user = (text) => [{ role: "user", content: text }];
"""


def ask(base: str, script: str) -> Any:
    return json.loads(node.run(HEAD + script, base))


def test_every_answer_tells_who_spoke(base: str) -> None:
    script = f"""
const told = [];
for (const [model, text] of {json.dumps([case[:2] for case in CASES])}) {{
  const {{ data, response }} = await client.chat.completions
    .create({{ model, messages: user(text), max_tokens: 12, temperature: 0 }}).withResponse();
  told.push([response.headers.get("x-agoge-adapters"), data.agoge.adapters, data.model,
             data.choices[0].message.content.length > 0, data.usage.completion_tokens]);
}}
console.log(JSON.stringify(told));
"""
    told = ask(base, script)
    assert [each[0] for each in told] == [adapters for _, _, adapters in CASES]
    assert [each[1] for each in told] == [weights(adapters) for _, _, adapters in CASES]
    assert [each[2] for each in told] == [model for model, _, _ in CASES]
    assert all(each[3] and 0 < each[4] <= 12 for each in told)


def test_it_streams_with_usage(base: str) -> None:
    script = f"""
const {{ data: stream, response }} = await client.chat.completions.create({{
  model: "auto", messages: user({json.dumps(DIRECTIVE)}), max_tokens: 12, stream: true,
  stream_options: {{ include_usage: true }},
}}).withResponse();
let text = "", finish = null, usage = null;
for await (const chunk of stream) {{
  text += chunk.choices[0]?.delta?.content ?? "";
  finish = chunk.choices[0]?.finish_reason ?? finish;
  usage = chunk.usage ?? usage;
}}
console.log(JSON.stringify([response.headers.get("x-agoge-adapters"), text, finish, usage]));
"""
    adapters, text, finish, usage = ask(base, script)
    assert adapters == PHYSICS
    assert len(text) > 5
    assert finish in ("stop", "length")
    assert 0 < usage["completion_tokens"] <= 12


def test_models_and_error_classes(base: str) -> None:
    script = f"""
const names = [];
for await (const model of client.models.list()) names.push(model.id);
const one = await client.models.retrieve("core+physics");
const refused = [];
const sky = {json.dumps(SKY)};
for (const [model, text, kind] of [["gpt-nope", sky, OpenAI.NotFoundError],
    ["academic+core", sky, OpenAI.BadRequestError], ["auto", "/mode dance tonight", OpenAI.BadRequestError]]) {{
  try {{
    await client.chat.completions.create({{ model, messages: user(text) }});
    refused.push("answered");
  }} catch (error) {{
    refused.push([error instanceof kind, error.status, error.code]);
  }}
}}
console.log(JSON.stringify([names, one.id, refused]));
"""
    names, one, refused = ask(base, script)
    assert names[0] == "auto"
    assert {"physics", "core+physics", "academic"} <= set(names)
    assert one == "core+physics"
    assert refused == [
        [True, 404, "model_not_found"],
        [True, 400, "contradiction"],
        [True, 400, "unknown_mode"],
    ]
