import type { ChatTool, ToolCall } from 'lfm2-wgpu';

/** The tools that the model may call. */
export const TOOLS: ChatTool[] = [
  {
    type: 'function',
    function: {
      name: 'get_time',
      description: 'Get the local time of a city',
      parameters: {
        type: 'object',
        properties: { city: { type: 'string', description: 'Name of the city' } },
        required: ['city'],
      },
    },
  },
];

/** Runs a tool in this page. If the call fails, the result tells the model the error. */
export function runTool({ function: { name, arguments: given } }: ToolCall): string {
  if (name !== 'get_time') return JSON.stringify({ error: `there is no tool ${name}` });
  const fields = objectOf(given);
  if (fields === undefined) return JSON.stringify({ error: 'the arguments are no JSON object' });
  const { city } = fields;
  if (typeof city !== 'string') return JSON.stringify({ error: 'city is missing' });
  const zone = zoneOf(city);
  if (zone === undefined) return JSON.stringify({ error: `no time zone is named after ${city}` });
  const time = new Intl.DateTimeFormat('en-GB', { timeZone: zone, hour: '2-digit', minute: '2-digit' });
  return JSON.stringify({ time: time.format(new Date()) });
}

/** A JSON object; nothing if the text is none. */
function objectOf(text: string): { city?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The time zone that is named after a city: `Rome` is `Europe/Rome`. */
function zoneOf(city: string): string | undefined {
  const plain = (name: string) => name.normalize('NFD').replace(/[^\p{L}]/gu, '').toLowerCase();
  const wanted = plain(city.split(',')[0] ?? city);
  return Intl.supportedValuesOf('timeZone').find((zone) => plain(zone.split('/').at(-1) ?? '') === wanted);
}
