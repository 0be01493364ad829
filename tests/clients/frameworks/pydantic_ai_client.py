"""Checks `lfm2 serve` with Pydantic AI, through OpenAI's and Anthropic's APIs. tools/clients.sh --all runs it."""

import asyncio

from common import ANSWER, MODEL, QUESTION, TOO_LONG, URL, VOLUME, VOLUME_ANSWER, City, equal, expect, run
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

openai = OpenAIProvider(base_url=f"{URL}/v1", api_key="any")
MODELS = {
    "chat": OpenAIChatModel(MODEL, provider=openai),
    "responses": OpenAIResponsesModel(MODEL, provider=openai),
    "messages": AnthropicModel(MODEL, provider=AnthropicProvider(base_url=URL, api_key="any")),
}
SETTINGS = {"temperature": 0, "max_tokens": 64}


def agent(name, **options):
    return Agent(MODELS[name], model_settings=SETTINGS, retries=0, **options)


def plain():
    for name in MODELS:
        answer = agent(name).run_sync(QUESTION)
        equal(answer.output, ANSWER, f"the answer of {name}")
        usage = answer.usage
        expect(usage.input_tokens > 0 and usage.output_tokens > 0, f"{name} has no usage: {usage}")


def stream():
    async def ask(name):
        async with agent(name).run_stream(QUESTION) as answer:
            return [text async for text in answer.stream_text(debounce_by=None)]
    for name in MODELS:
        texts = asyncio.run(ask(name))
        equal(texts[-1], ANSWER, f"the streamed answer of {name}")
        expect(len(texts) > 2, f"{name} came in {len(texts)} pieces")


def tools_in_turns():
    for name in MODELS:
        levels = []
        one = agent(name)

        @one.tool_plain
        def set_volume(level: int) -> str:
            """Set the volume"""
            levels.append(level)
            return '{"result": "ok"}'

        equal((one.run_sync(VOLUME).output, levels), (VOLUME_ANSWER, [36]), f"answer and calls of {name}")


def schema():
    # An output tool is a demanded call, a native output a JSON schema.
    for name, output in [("chat", ToolOutput(City)), ("chat", NativeOutput(City)), ("responses", ToolOutput(City)),
                         ("messages", ToolOutput(City))]:
        city = agent(name, output_type=output).run_sync("Describe a city.").output
        expect(isinstance(city, City), f"{name} gave {city!r}")


def errors():
    for name in MODELS:
        try:
            agent(name).run_sync(TOO_LONG)
        except ModelHTTPError as error:
            equal(error.status_code, 400, f"the status of {name}")
        else:
            raise AssertionError(f"{name} answered a prompt that is too long")


def cancel():
    async def ask():
        async with agent("chat").run_stream(QUESTION) as answer:
            async for _ in answer.stream_text(debounce_by=None):
                return
    asyncio.run(ask())


run([plain, stream, tools_in_turns, schema, errors, cancel])
