/** What is sent and handed on, held against what Agoge's API says (docs/integrations.md of the router). */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test from 'node:test';

const { answer, askBody, decideBody, decision, messages, refusal, speakers } = createRequire(
	import.meta.url,
)('../dist/nodes/Agoge/wire.js');

const told = {
	decision_id: 'dec_1',
	label: 'physics',
	scores: { physics: 0.9 },
	out_of_domain: false,
	adapters: { core: 1, physics: 0.8 },
	alone: false,
	why: 'core: always; physics: physics 0.90 >= 0.45',
	backend: 'embedded',
	stand_in: false,
};
const reply = {
	choices: [{ message: { role: 'assistant', content: 'Light scatters.' } }],
	agoge: told,
};

test('a question alone is one user message, and nothing is set that nobody set', () => {
	assert.deepEqual(askBody('auto', messages('Why?', {}), {}), {
		model: 'auto',
		messages: [{ role: 'user', content: 'Why?' }],
	});
});

test('system first, history between, the question last; zero is a temperature', () => {
	const history = '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]';
	const options = { history, systemMessage: 'Be brief.', temperature: 0, maxTokens: 5 };
	const body = askBody('физика+агоге', messages('Why?', options), options);
	assert.deepEqual(
		body.messages.map(({ role, content }) => `${role}: ${content}`),
		['system: Be brief.', 'user: Hi', 'assistant: Hello', 'user: Why?'],
	);
	assert.equal(body.model, 'физика+агоге');
	assert.equal(body.temperature, 0);
	assert.equal(body.max_tokens, 5);
});

test('a decision is asked without sampling parameters', () => {
	const body = decideBody('auto', messages('Why?', {}), { temperature: 1 });
	assert.deepEqual(Object.keys(body), ['model', 'messages']);
});

for (const history of ['{', '{}', '["x"]', [null], [{ role: 'user' }]]) {
	test(`a history that is none makes no conversation: ${JSON.stringify(history)}`, () => {
		assert.equal(messages('Why?', { history }), undefined);
	});
}

test('an answer is its text, and who spoke and why', () => {
	assert.deepEqual(answer(reply, true), {
		text: 'Light scatters.',
		decision_id: 'dec_1',
		label: 'physics',
		out_of_domain: false,
		adapters: { core: 1, physics: 0.8 },
		alone: false,
		why: 'core: always; physics: physics 0.90 >= 0.45',
		backend: 'embedded',
		stand_in: false,
	});
	assert.equal(answer(reply, false), reply);
});

test('a stand-in is told as one: nobody reads adapters that did not speak', () => {
	const standIn = { ...told, stand_in: true, adapters: {} };
	assert.equal(answer({ ...reply, agoge: standIn }, true).stand_in, true);
});

test('a decision keeps its id and label, and everything where everything is asked for', () => {
	assert.equal(decision(told, true).decision_id, 'dec_1');
	assert.equal('scores' in decision(told, true), false);
	assert.equal(decision(told, false), told);
});

test('a list of experts says who speaks', () => {
	const physics = { adapters: { core: 1, physics: 0.8 }, alone: false };
	assert.equal(speakers({ id: 'physics', agoge: physics }), 'core x 1, physics x 0.8');
	const academic = { adapters: { academic: 1 }, alone: true };
	assert.equal(speakers({ id: 'academic', agoge: academic }), 'academic x 1, alone');
	assert.equal(speakers({ id: 'auto', agoge: null }), 'Agoge chooses for every prompt');
	assert.equal(speakers({ id: 'of another server' }), undefined);
});

test("Agoge's own words are found in an error, wherever n8n keeps the body", () => {
	const body = { error: { message: 'the model "x" does not exist', code: 'model_not_found' } };
	assert.equal(refusal({ response: { data: body } }), body.error.message);
	assert.equal(refusal({ context: { data: body } }), body.error.message);
	assert.equal(refusal({ cause: { response: { body } } }), body.error.message);
	assert.equal(refusal(new Error('connection refused')), undefined);
	assert.equal(refusal(undefined), undefined);
});
