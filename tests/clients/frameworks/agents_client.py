"""Checks `lfm2 serve` with OpenAI's Agents SDK, through both of OpenAI's APIs. tools/clients.sh --all runs it."""

import asyncio

import openai
from agents import (Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool,
                    set_tracing_disabled)
from common import ANSWER, MODEL, QUESTION, TOO_LONG, URL, VOLUME, VOLUME_ANSWER, City, equal, expect, run
from openai import AsyncOpenAI

set_tracing_disabled(True)
client = AsyncOpenAI(base_url=f"{URL}/v1", api_key="any", max_retries=0)
MODELS = [OpenAIChatCompletionsModel(MODEL, client), OpenAIResponsesModel(MODEL, client)]
SETTINGS = ModelSettings(temperature=0, max_tokens=64)


levels = []


@function_tool
def set_volume(level: int) -> str:
    """Set the volume"""
    levels.append(level)
    return '{"result": "ok"}'


def agent(model, **options):
    return Agent(name="Assistant", model=model, model_settings=SETTINGS, **options)


def each(check):
    """Runs an asynchronous check with both models."""
    async def both():
        for model in MODELS:
            await check(model)
    both.__name__ = check.__name__

    def checked():
        loop.run_until_complete(both())
    checked.__name__ = check.__name__
    return checked


async def plain(model):
    answer = await Runner.run(agent(model), QUESTION)
    equal(answer.final_output, ANSWER, f"the answer of {type(model).__name__}")
    expect(answer.raw_responses[0].usage.total_tokens > 0, "there is no usage")


async def stream(model):
    answer = Runner.run_streamed(agent(model), QUESTION)
    kinds = [event.type async for event in answer.stream_events()]
    equal(answer.final_output, ANSWER, f"the streamed answer of {type(model).__name__}")
    expect(kinds.count("raw_response_event") > 3, f"the events are {kinds}")


async def tools_in_turns(model):
    levels.clear()
    answer = await Runner.run(agent(model, tools=[set_volume]), VOLUME)
    equal((answer.final_output, levels), (VOLUME_ANSWER, [36]), f"answer and calls of {type(model).__name__}")
    levels.clear()
    answer = Runner.run_streamed(agent(model, tools=[set_volume]), VOLUME)
    async for _ in answer.stream_events():
        pass
    equal((answer.final_output, levels), (VOLUME_ANSWER, [36]), f"streamed answer and calls of {type(model).__name__}")


async def schema(model):
    answer = await Runner.run(agent(model, output_type=City), "Describe a city.")
    expect(isinstance(answer.final_output, City), f"{type(model).__name__} gave {answer.final_output!r}")


async def errors(model):
    try:
        await Runner.run(agent(model), TOO_LONG)
    except openai.BadRequestError as error:
        equal(error.code, "context_length_exceeded", "the code")
    else:
        raise AssertionError("a prompt that is too long was answered")


async def cancel(model):
    answer = Runner.run_streamed(agent(model), QUESTION)
    async for _ in answer.stream_events():
        answer.cancel()


loop = asyncio.new_event_loop()
run([each(check) for check in (plain, stream, tools_in_turns, schema, errors, cancel)])
