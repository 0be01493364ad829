"""Checks a running `lfm2 serve` with OpenAI's client for Python. tools/clients.sh runs it.

LFM2_URL is the server's address. LFM2_PROGRAM is the program `lfm2`, with which one check starts a server of its own.
Both serve the demonstration model. The first check that fails ends the script with status 1.
"""

import asyncio
import json
import math
import os
import re
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager

import openai
from openai import AsyncOpenAI, OpenAI


URL = os.environ["LFM2_URL"].rstrip("/")
PROGRAM = os.environ["LFM2_PROGRAM"]
MODEL = "demo"
# A LoRA adapter of random numbers.
ADAPTER = "tuned"
SUM = [{"role": "user", "content": "What is 2 + 3?"}]
ANSWER = "2 + 3 = 5."
# These options give a long text that differs from seed to seed.
WILD = {"temperature": 2, "top_p": 1, "max_tokens": 24, "extra_body": {"ignore_eos": True, "top_k": -1, "min_p": 0}}
# An answer that takes many seconds.
LONG = {"messages": SUM, "max_tokens": 1900, "extra_body": {"ignore_eos": True}}

client = OpenAI(base_url=f"{URL}/v1", api_key="any", max_retries=0, timeout=60)


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def equal(got, wanted, name):
    expect(got == wanted, f"{name}: got {got!r}, wanted {wanted!r}")


def refused(kind, request, code=None, param=None):
    """Runs a request that the server must refuse with this class of error, and returns the error."""
    try:
        answer = request()
    except openai.APIStatusError as error:
        expect(type(error) is kind, f"wanted {kind.__name__}, got {type(error).__name__}: {error}")
        expect(error.body["message"] and error.request_id, f"the error has no message or id: {error.body}")
        equal((error.code, error.param), (code or error.code, param or error.param), "the error's code and param")
        return error
    raise AssertionError(f"wanted {kind.__name__}, got an answer: {answer}")


def chat(messages=SUM, **options):
    return client.chat.completions.create(model=MODEL, messages=messages, **{"temperature": 0, **options})


def text(**options):
    return client.completions.create(model=MODEL, **{"temperature": 0, **options})


def fetch(path, body=None, url=URL):
    headers = {"content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=30) as answer:
        return json.load(answer)


def becomes_idle(url=URL, seconds=2.0):
    end = time.monotonic() + seconds
    while (running := fetch("/health", url=url)["in_flight"]) > 0:
        expect(time.monotonic() < end, f"{running} answers still run {seconds} s after the client has left")
        time.sleep(0.02)


def object_of(properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def function(name, description, **properties):
    inner = {"name": name, "description": description, "strict": True, "parameters": object_of(properties)}
    return {"type": "function", "function": inner}


TOOLS = [function("set_volume", "Set the volume", level={"type": "integer"}),
         function("set_timer", "Start a timer", minutes={"type": "integer"})]
VOLUME = [{"role": "user", "content": "Set the volume to 36"}]
TIMER = {"role": "user", "content": "start a timer for 15 minutes"}


def is_call(choice, name, arguments):
    """Checks that a choice is one call of a tool, and returns the call."""
    equal(choice.finish_reason, "tool_calls", "finish_reason")
    expect(not choice.message.content, f"the call comes with a text: {choice.message.content!r}")
    equal(len(choice.message.tool_calls), 1, "number of calls")
    call = choice.message.tool_calls[0]
    equal((call.type, call.function.name), ("function", name), "the call")
    equal(json.loads(call.function.arguments), arguments, "the call's arguments")
    return call


@contextmanager
def server(*options):
    """Starts a server, which must have been told to end when the block ends."""
    process = subprocess.Popen([PROGRAM, "serve", "--port", "0", *options], stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if address := re.match(r"listening on (http://[\d.]+:\d+)", line):
                break
        else:
            raise AssertionError(f"the server did not start: {''.join(lines)}")
        # Somebody must read the log, else the server waits for that at some time.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield address[1], process
        equal(process.wait(20), 0, "the server's exit status")
    finally:
        process.kill()


def models():
    equal([model.id for model in client.models.list()], [MODEL, ADAPTER], "the models")
    equal(client.models.retrieve(MODEL).id, MODEL, "the model")
    refused(openai.NotFoundError, lambda: client.models.retrieve("gpt-9"), "model_not_found")
    refused(openai.NotFoundError, lambda: client.chat.completions.create(model="gpt-9", messages=SUM),
            "model_not_found", "model")


def chat_whole():
    first, second = chat(), chat()
    for answer in (first, second):
        equal((answer.object, answer.model), ("chat.completion", MODEL), "object and model")
        expect(abs(answer.created - time.time()) < 600, f"created is {answer.created}")
        choice, usage = answer.choices[0], answer.usage
        equal((choice.message.content, choice.message.tool_calls), (ANSWER, None), "the message")
        equal((choice.index, choice.finish_reason), (0, "stop"), "index and finish_reason")
        equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens, "total_tokens")
        equal(usage.completion_tokens_details.reasoning_tokens, 0, "reasoning_tokens")
    expect(first.id != second.id, "two answers have one id")
    cached = second.usage.prompt_tokens_details.cached_tokens
    expect(0 < cached < second.usage.prompt_tokens, f"cached_tokens of the second answer is {cached}")


def chat_stream():
    whole = chat()
    *chunks, usage = chat(stream=True, stream_options={"include_usage": True})
    equal((usage.choices, usage.usage.total_tokens), ([], whole.usage.total_tokens), "the chunk of the usage")
    equal({chunk.usage for chunk in chunks}, {None}, "usage of the other chunks")
    equal({(chunk.id, chunk.created, chunk.object) for chunk in chunks},
          {(usage.id, usage.created, "chat.completion.chunk")}, "what all chunks have")
    equal([chunk.choices[0].delta.role for chunk in chunks], ["assistant"] + [None] * (len(chunks) - 1), "roles")
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    equal(reasons, [None] * (len(chunks) - 1) + ["stop"], "finish reasons")
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), ANSWER, "the joined chunks")
    expect(all(chunk.choices for chunk in chat(stream=True)), "a chunk without choices that nobody asked for")
    with client.chat.completions.stream(model=MODEL, messages=SUM, temperature=0) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    equal(kinds[-1], "content.done", "the last event")
    equal((final.choices[0].message.content, final.choices[0].finish_reason), (ANSWER, "stop"), "the final answer")


def several_answers():
    one = chat(n=3, seed=11, **WILD)
    equal([choice.index for choice in one.choices], [0, 1, 2], "indexes")
    texts = [choice.message.content for choice in one.choices]
    equal(len(set(texts)), 3, f"number of different answers in {texts}")
    equal({choice.finish_reason for choice in one.choices}, {"length"}, "finish reasons")
    equal(one.usage.completion_tokens, 3 * WILD["max_tokens"], "completion_tokens")
    again = chat(n=3, seed=11, **WILD)
    equal([choice.message.content for choice in again.choices], texts, "the texts of the same seed")
    streamed = ["", "", ""]
    for chunk in chat(n=3, seed=11, stream=True, **WILD):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    equal(streamed, texts, "the streamed texts of the same seed")
    other = chat(seed=12345, **WILD).choices[0].message.content
    expect(other not in texts, f"another seed has the same text: {other!r}")


def adapters():
    def tuned(**options):
        return client.chat.completions.create(messages=SUM, temperature=0, max_tokens=24, **options)

    first = tuned(model=ADAPTER)
    equal(first.model, ADAPTER, "the answer's model")
    own = first.choices[0].message.content
    expect(own != ANSWER, "the adapter changes nothing")
    chosen = tuned(model=MODEL, extra_body={"lora": [{"id": 0, "scale": 5}]})
    equal(chosen.choices[0].message.content, own, "the text with `lora`")
    chunks = tuned(model=ADAPTER, stream=True)
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), own, "the streamed text")
    equal(chat().choices[0].message.content, ANSWER, "the model's own text")


def limits_and_biases():
    for stop in (" =", [" =", "never"]):
        stopped = chat(stop=stop).choices[0]
        equal((stopped.message.content, stopped.finish_reason), ("2 + 3", "stop"), f"the answer with stop {stop!r}")
    cut = chat(max_completion_tokens=3)
    equal((cut.choices[0].finish_reason, cut.usage.completion_tokens), ("length", 3), "the cut answer's end")
    expect(ANSWER.startswith(cut.choices[0].message.content), f"the cut answer is {cut.choices[0].message.content!r}")
    (five,), (seven,) = (fetch("/tokenize", {"content": digit})["tokens"] for digit in "57")
    without = chat(logit_bias={str(five): -100}, max_tokens=12).choices[0].message.content
    expect("5" not in without, f"a forbidden token is in {without!r}")
    forced = chat(logit_bias={str(seven): 100}, max_tokens=3).choices[0].message.content
    equal(forced, "777", "the answer with a forced token")


def logprobs():
    scored = chat(logprobs=True, top_logprobs=5).choices[0].logprobs.content
    equal("".join(one.token for one in scored), ANSWER, "the scored tokens")
    for one in scored:
        equal(bytes(one.bytes).decode(), one.token, "a token's bytes")
        equal(len(one.top_logprobs), 5, f"number of alternatives of {one.token!r}")
        top = {other.token: other.logprob for other in one.top_logprobs}
        equal(top.get(one.token), one.logprob, f"{one.token!r} among its alternatives")
        expect(sum(map(math.exp, top.values())) <= 1 + 1e-5, f"the probabilities {top} are more than 1")
    chunks = [chunk.choices[0].logprobs for chunk in chat(logprobs=True, top_logprobs=5, stream=True)]
    streamed = [one for scores in chunks if scores for one in scores.content]
    equal([one.token for one in streamed], [one.token for one in scored], "the streamed scores' tokens")
    far = max(abs(a.logprob - b.logprob) for a, b in zip(streamed, scored))
    expect(far < 1e-3, f"a streamed score differs by {far}")


def tools_in_turns():
    none = chat(VOLUME, tools=TOOLS, tool_choice="none").choices[0]
    equal((none.message.tool_calls, none.finish_reason), (None, "stop"), "the answer with tool_choice none")
    messages = [*VOLUME]
    answer = chat(messages, tools=TOOLS).choices[0]
    first = is_call(answer, "set_volume", {"level": 36})
    messages += [answer.message, {"role": "tool", "tool_call_id": first.id, "content": '{"result": "ok"}'}]
    answer = chat(messages, tools=TOOLS).choices[0]
    equal(answer.message.content, "The volume is set to 36.", "the text after a result")
    messages += [answer.message, TIMER]
    # The helper assembles the call from chunks, and its message goes back to the server as it is.
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=TOOLS, temperature=0) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_completion().choices[0]
    expect("tool_calls.function.arguments.done" in kinds, f"the events have no call: {kinds}")
    second = is_call(answer, "set_timer", {"minutes": 15})
    equal(second.function.parsed_arguments, {"minutes": 15}, "the helper's parsed arguments")
    expect(first.id and second.id and first.id != second.id, f"the ids are {first.id!r} and {second.id!r}")
    messages += [answer.message, {"role": "tool", "tool_call_id": second.id, "content": '{"status": "ok"}'}]
    final = chat(messages, tools=TOOLS).choices[0].message.content
    equal(final, "The timer is set to 15 minutes.", "the text after the second result")


def tools_streamed():
    choices = [chunk.choices[0] for chunk in chat(VOLUME, tools=TOOLS, n=2, stream=True)]
    equal([c.finish_reason for c in choices if c.finish_reason], ["tool_calls"] * 2, "finish reasons")
    parts = [(choice.index, part) for choice in choices for part in choice.delta.tool_calls or []]
    equal({part.index for _, part in parts}, {0}, "indexes of the calls")
    ids = [(answer, part.id, part.function.name) for answer, part in parts if part.id or part.function.name]
    equal(sorted((answer, name) for answer, _, name in ids), [(0, "set_volume"), (1, "set_volume")], "the calls' names")
    equal(len({name for _, name, _ in ids if name}), 2, "number of different ids")
    for answer in (0, 1):
        arguments = "".join(part.function.arguments or "" for index, part in parts if index == answer)
        equal(json.loads(arguments), {"level": 36}, "the streamed call's arguments")


def messages_and_fields():
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "2 + 3?"}]
    equal(chat([{"role": "user", "content": parts}]).choices[0].message.content, ANSWER, "the answer to parts")
    rules = {"content": "Answer briefly."}
    as_developer, as_system = (chat([{"role": role, **rules}, *SUM]) for role in ("developer", "system"))
    equal(as_developer.choices[0].message.content, ANSWER, "the answer with a developer's message")
    equal(as_developer.usage.prompt_tokens, as_system.usage.prompt_tokens, "prompt_tokens of developer and system")
    call = {"id": "call_1", "type": "function", "function": {"name": "set_volume", "arguments": '{"level": 36}'}}
    turns = [*VOLUME, {"role": "assistant", "content": None, "tool_calls": [call]},
             {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": '{"result": "ok"}'}]}]
    equal(chat(turns, tools=TOOLS).choices[0].message.content, "The volume is set to 36.", "the answer to null content")
    # Fields that change no answer are accepted.
    answer = chat(store=True, metadata={"a": "b"}, user="u", service_tier="auto", prompt_cache_key="k", logprobs=False,
                  safety_identifier="s", parallel_tool_calls=True, response_format={"type": "text"}, stop=None,
                  tools=None, seed=None, extra_headers={"x-request-id": "mine"})
    equal((answer.choices[0].message.content, answer._request_id), (ANSWER, "mine"), "the answer and the request's id")


def bad_requests():
    bad = openai.BadRequestError
    refused(bad, lambda: chat(extra_body={"colour": "red"}), param="colour")
    for name, value in [("temperature", "hot"), ("max_tokens", 1.5), ("n", 0), ("stop", [1]), ("stream", "yes"),
                        ("tools", "all"), ("top_logprobs", 3), ("tool_choice", "maybe"), ("response_format", "json")]:
        refused(bad, lambda: chat(**{name: value}), "invalid_request", name)
    for messages in ["Hi", [], [{"role": "cook", "content": "Hi"}], [{"role": "user", "content": 5}]]:
        refused(bad, lambda: chat(messages), "invalid_request")
    long = "What is 2 + 3? " * 600
    refused(bad, lambda: chat([{"role": "user", "content": long}]), "context_length_exceeded")
    refused(bad, lambda: chat([{"role": "user", "content": long}], stream=True), "context_length_exceeded")
    refused(bad, lambda: text(prompt=long), "context_length_exceeded")
    error = refused(openai.NotFoundError, lambda: client.embeddings.create(model=MODEL, input="Hi"))
    expect("embeddings" in error.message, f"the error does not name embeddings: {error.message}")


def completions():
    chat_ids = fetch("/tokenize", {"messages": SUM})["tokens"]
    by_ids = text(prompt=chat_ids, max_tokens=16)
    equal((by_ids.choices[0].text, by_ids.choices[0].finish_reason), (ANSWER, "stop"), "the chat's ids, continued")
    equal((by_ids.object, by_ids.usage.prompt_tokens), ("text_completion", len(chat_ids)), "object and prompt_tokens")
    words = text(prompt="What is", max_tokens=6, logprobs=2)
    equal(words.usage.completion_tokens, 6, "completion_tokens")
    first, second = text(prompt=["What is", "2 + 3 ="], max_tokens=6).choices
    equal((first.index, second.index, first.text), (0, 1, words.choices[0].text), "the first of two texts")
    lists = text(prompt=[chat_ids, chat_ids], max_tokens=16)
    equal([choice.text for choice in lists.choices], [ANSWER] * 2, "the texts of lists of ids")
    *chunks, usage = text(prompt="What is", max_tokens=6, stream=True, stream_options={"include_usage": True})
    equal((usage.choices, usage.usage.total_tokens), ([], words.usage.total_tokens), "the chunk of the usage")
    equal("".join(chunk.choices[0].text for chunk in chunks), words.choices[0].text, "the joined chunks")
    equal(chunks[-1].choices[0].finish_reason, "length", "the last finish_reason")


def echo():
    """The requests of lm-evaluation-harness."""
    prompt = "What is 2 + 3? 2 +"
    ids = fetch("/tokenize", {"prompt": prompt})["tokens"]
    options = {"max_tokens": 1, "logprobs": 1, "echo": True, "seed": 1234}
    by_text, by_ids = (text(prompt=one, **options).choices[0] for one in (prompt, [ids]))
    equal(by_ids.model_dump(), by_text.model_dump(), "the echo of ids and of their text")
    expect(by_text.text.startswith(prompt), f"the echo is {by_text.text!r}")
    scores = by_text.logprobs
    equal({len(scores.tokens), len(scores.token_logprobs), len(scores.top_logprobs), len(scores.text_offset)},
          {len(ids) + 1}, "the lengths of the lists")
    equal((scores.token_logprobs[0], scores.top_logprobs[0]), (None, None), "the first token's scores")
    lists = zip(scores.tokens, scores.token_logprobs, scores.top_logprobs, scores.text_offset)
    for token, score, top, offset in list(lists)[1:]:
        expect(score <= max(top.values()) <= 0, f"{token!r} has {score}, the best of {top}")
        expect(by_text.text[offset:].startswith(token), f"{token!r} is not at {offset} of {by_text.text!r}")
    equal(scores.token_logprobs[-1], max(scores.top_logprobs[-1].values()), "the greedy token's score")
    joined = "".join(chunk.choices[0].text for chunk in text(prompt=prompt, stream=True, **options))
    equal(joined, by_text.text, "the joined chunks of an echo")


def many_at_once():
    async def ask():
        async with AsyncOpenAI(base_url=f"{URL}/v1", api_key="any", max_retries=0) as asynchronous:
            create = asynchronous.chat.completions.create
            return await asyncio.gather(*(create(model=MODEL, messages=SUM, temperature=0) for _ in range(8)))
    answers = asyncio.run(ask())
    equal([answer.choices[0].message.content for answer in answers], [ANSWER] * 8, "eight answers at once")


def cancel():
    with client.chat.completions.create(model=MODEL, stream=True, **LONG) as stream:
        next(stream), next(stream)
        expect(fetch("/health")["in_flight"] == 1, "the long answer does not run")
    becomes_idle()
    try:
        client.with_options(timeout=0.5).chat.completions.create(model=MODEL, **LONG)
        raise AssertionError("the long answer came within 0.5 s")
    except openai.APITimeoutError:
        becomes_idle()


def keys_retries_and_end():
    """A server with a key and no queue: it refuses wrong keys, and a second answer until the first has ended."""
    with server("--api-key", "k", "--parallel", "1", "--max-queue", "0") as (url, process):
        wrong = OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0)
        refused(openai.AuthenticationError, lambda: wrong.chat.completions.create(model=MODEL, messages=SUM),
                "invalid_api_key")
        right = wrong.with_options(api_key="k")
        stream = right.chat.completions.create(model=MODEL, stream=True, **LONG)
        next(stream)
        create = right.chat.completions.with_raw_response.create
        busy = refused(openai.RateLimitError, lambda: create(model=MODEL, messages=SUM))
        expect(float(busy.response.headers["retry-after"]) > 0, "the refusal has no retry-after")
        patient = right.with_options(max_retries=5).chat.completions.with_raw_response
        threading.Timer(0.5, stream.close).start()
        raw = patient.create(model=MODEL, messages=SUM, temperature=0)
        equal(raw.parse().choices[0].message.content, ANSWER, "the answer after the client's own retries")
        expect(raw.retries_taken >= 1, "the client did not have to try again")
        becomes_idle(url)
        # The server ends, but not before an answer in progress.
        last = right.chat.completions.create(model=MODEL, stream=True, **{**LONG, "max_tokens": 60})
        next(last)
        process.terminate()
        equal([chunk.choices[0].finish_reason for chunk in last][-1], "length", "the end of the last answer")


def structure():
    is_call(chat(VOLUME, tools=TOOLS, tool_choice="required").choices[0], "set_volume", {"level": 36})
    named = {"type": "function", "function": {"name": "set_timer"}}
    choice = chat(VOLUME, tools=TOOLS, tool_choice=named, max_tokens=100).choices[0]
    call = choice.message.tool_calls[0]
    equal((len(choice.message.tool_calls), call.function.name), (1, "set_timer"), "the named call")
    arguments = json.loads(call.function.arguments)
    expect(list(arguments) == ["minutes"] and type(arguments["minutes"]) is int, f"the arguments are {arguments}")
    expect(choice.finish_reason in ("stop", "tool_calls"), f"finish_reason is {choice.finish_reason}")
    number = {"type": "integer", "minimum": 0, "maximum": 99}
    schema = object_of({"sum": number, "kind": {"enum": ["odd", "even"]}})
    form = {"type": "json_schema", "json_schema": {"name": "sum", "strict": True, "schema": schema}}
    for options in ({"temperature": 0}, {"temperature": 2, "seed": 3}):
        choice = chat(response_format=form, max_tokens=200, **options).choices[0]
        equal(choice.finish_reason, "stop", "finish_reason")
        value = json.loads(choice.message.content)
        expect(set(value) == {"sum", "kind"} and type(value["sum"]) is int and 0 <= value["sum"] <= 99
               and value["kind"] in ("odd", "even"), f"the schema does not describe {value}")
    wrong = {"type": "json_schema", "json_schema": {"name": "sum", "schema": {"type": "objekt"}}}
    refused(openai.BadRequestError, lambda: chat(response_format=wrong), param="response_format")


def respond(turns="What is 2 + 3?", **options):
    return client.responses.create(model=MODEL, input=turns, **{"temperature": 0, **options})


def responses():
    answer = respond()
    equal((answer.object, answer.status, answer.model, answer.output_text),
          ("response", "completed", MODEL, ANSWER), "the response")
    usage = answer.usage
    equal(usage.total_tokens, usage.input_tokens + usage.output_tokens, "total_tokens")
    equal(client.responses.retrieve(answer.id).output_text, ANSWER, "the stored response")
    next_one = respond("What is 2 + 3?", previous_response_id=answer.id, instructions="Be brief.")
    equal((next_one.previous_response_id, next_one.status), (answer.id, "completed"), "the next response")
    client.responses.delete(answer.id)
    refused(openai.NotFoundError, lambda: client.responses.retrieve(answer.id), "response_not_found")
    refused(openai.BadRequestError, lambda: respond(previous_response_id=answer.id), param="previous_response_id")
    cut = respond(max_output_tokens=3, store=False)
    equal((cut.status, cut.incomplete_details.reason), ("incomplete", "max_output_tokens"), "an answer that was cut")
    for wrong in ({"background": True}, {"temperature": "hot"}, {"max_output_tokens": 0}, {"text": "all"}):
        refused(openai.BadRequestError, lambda: respond(**wrong), "invalid_request", next(iter(wrong)))
    raw = client.responses.with_raw_response.create(model=MODEL, input="Hi", tools=[{"type": "web_search"}])
    equal(raw.headers["x-ignored-fields"], "tools[0] (web_search)", "the tools that were left out")
    schema = object_of({"sum": {"type": "integer", "minimum": 0, "maximum": 99}})
    form = {"type": "json_schema", "name": "sum", "strict": True, "schema": schema}
    expect(0 <= json.loads(respond(text={"format": form}).output_text)["sum"] <= 99, "the schema is not followed")


def responses_streamed():
    kinds, text = [], ""
    with client.responses.stream(model=MODEL, input="What is 2 + 3?", temperature=0) as stream:
        for event in stream:
            kinds.append(event.type)
            text += event.delta if event.type == "response.output_text.delta" else ""
        equal((text, stream.get_final_response().output_text), (ANSWER, ANSWER), "the streamed text")
    equal((kinds[:2], kinds[-1]), (["response.created", "response.in_progress"], "response.completed"), "the events")
    events = list(respond(stream=True))
    equal([event.sequence_number for event in events], list(range(len(events))), "the numbers of the events")


def responses_tools():
    tools = [{"type": "function", **tool["function"]} for tool in TOOLS]
    for stream in (False, True):
        turns = list(VOLUME)
        if stream:
            with client.responses.stream(model=MODEL, input=turns, tools=tools, temperature=0) as events:
                answer = events.get_final_response()
        else:
            answer = respond(turns, tools=tools)
        equal([item.type for item in answer.output], ["function_call"], "the items")
        call = answer.output[0]
        equal((call.name, json.loads(call.arguments)), ("set_volume", {"level": 36}), "the call")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": json.dumps({"result": "ok"})}
        # The call goes back to the server by its fields, or as a part of the stored response.
        item = call.model_dump(include={"type", "call_id", "name", "arguments"})
        for more in ({"turns": [*turns, item, result]}, {"turns": [result], "previous_response_id": answer.id}):
            equal(respond(tools=tools, **more).output_text, "The volume is set to 36.", "the answer after the call")


CHECKS = [models, chat_whole, chat_stream, several_answers, adapters, limits_and_biases, logprobs, tools_in_turns,
          tools_streamed, messages_and_fields, bad_requests, completions, echo,
          many_at_once, cancel, keys_retries_and_end, structure, responses, responses_streamed, responses_tools]

if __name__ == "__main__":
    for check in CHECKS:
        check()
        print(f"ok {check.__name__}", flush=True)
