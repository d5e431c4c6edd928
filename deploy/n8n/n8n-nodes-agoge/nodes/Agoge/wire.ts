/**
 * What Agoge is sent, and what of its replies is handed on. Knows neither n8n nor HTTP.
 */
export type Message = { role: string; content: string };

export type Options = {
	history?: unknown;
	maxTokens?: number;
	systemMessage?: string;
	temperature?: number;
};

/** An entry of GET /v1/models; `agoge` is null where the prompt decides. */
export type Model = {
	id: string;
	agoge?: { adapters: Record<string, number>; alone: boolean } | null;
};

export type Fields = Record<string, unknown>;

export const HISTORY_INVALID =
	'Earlier messages must be a JSON list such as [{"role": "user", "content": "Hello"}]';

/** The conversation to send; undefined when the history in the options is none. */
export function messages(prompt: string, options: Options): Message[] | undefined {
	const earlier = history(options.history);
	const system = options.systemMessage ? [{ role: 'system', content: options.systemMessage }] : [];
	return earlier && [...system, ...earlier, { role: 'user', content: prompt }];
}

export function askBody(expert: string, conversation: Message[], options: Options): Fields {
	const body: Fields = { model: expert, messages: conversation };
	if (options.temperature !== undefined) body.temperature = options.temperature;
	if (options.maxTokens !== undefined) body.max_tokens = options.maxTokens;
	return body;
}

export function decideBody(expert: string, conversation: Message[]): Fields {
	return { model: expert, messages: conversation };
}

/** The text of a chat completion, and beside it who spoke and why. */
export function answer(reply: Fields, simplify: boolean): Fields {
	if (!simplify) return reply;
	const choice = (reply.choices as Array<{ message: { content: string | null } }>)[0];
	const told = reply.agoge as Fields;
	return {
		text: choice.message.content ?? '',
		...essence(told),
		backend: told.backend,
		stand_in: told.stand_in,
	};
}

export function decision(reply: Fields, simplify: boolean): Fields {
	return simplify ? essence(reply) : reply;
}

/** Who speaks when this model is asked for, in words for a list. */
export function speakers({ agoge }: Model): string | undefined {
	if (agoge === undefined) return undefined;
	if (agoge === null) return 'Agoge chooses for every prompt';
	const names = Object.entries(agoge.adapters).map(([name, weight]) => `${name} x ${weight}`);
	return names.join(', ') + (agoge.alone ? ', alone' : '');
}

/** What Agoge says is wrong, where it said so in its error object. */
export function refusal(error: unknown): string | undefined {
	const said = error as {
		context?: { data?: Fields };
		response?: { body?: unknown; data?: unknown };
		cause?: { response?: { body?: unknown; data?: unknown } };
	};
	const places = [
		said?.context?.data,
		said?.response?.body,
		said?.response?.data,
		said?.cause?.response?.body,
		said?.cause?.response?.data,
	];
	for (const place of places) {
		const message = (place as { error?: { message?: unknown } } | undefined)?.error?.message;
		if (typeof message === 'string') return message;
	}
	return undefined;
}

function essence(told: Fields): Fields {
	return {
		decision_id: told.decision_id,
		label: told.label,
		out_of_domain: told.out_of_domain,
		adapters: told.adapters,
		alone: told.alone,
		why: told.why,
	};
}

function history(given: unknown): Message[] | undefined {
	if (given === undefined || given === '') return [];
	const list = typeof given === 'string' ? parsed(given) : given;
	if (!Array.isArray(list)) return undefined;
	const fits = (list as Array<Partial<Message> | null>).every(
		(each) => typeof each?.role === 'string' && typeof each.content === 'string',
	);
	return fits ? (list as Message[]) : undefined;
}

function parsed(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
