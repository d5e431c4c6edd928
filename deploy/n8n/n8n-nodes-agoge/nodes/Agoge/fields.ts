/** The fields of the Agoge node, as n8n shows them. Knows no request. */
import type { INodeProperties } from 'n8n-workflow';

export const expert: INodeProperties = {
	displayName: 'Expert Name or ID',
	name: 'expert',
	type: 'options',
	typeOptions: { loadOptionsMethod: 'getExperts' },
	default: 'auto',
	description:
		'Who should speak; auto lets Agoge choose. Choose from the list, or specify an ID using an <a href="https://docs.n8n.io/code/expressions/">expression</a>.',
};

const history: INodeProperties = {
	displayName: 'Earlier Messages',
	name: 'history',
	type: 'json',
	default: '[]',
	description:
		'The conversation so far, as a list of objects with role and content. A short follow-up question takes its subject from here, and so does a mode that was switched on.',
};

const systemMessage: INodeProperties = {
	displayName: 'System Message',
	name: 'systemMessage',
	type: 'string',
	typeOptions: { rows: 2 },
	default: '',
};

/** How an answer is drawn; whoever asks for one has these options. */
export const sampling: INodeProperties[] = [
	{
		displayName: 'Maximum Number of Tokens',
		name: 'maxTokens',
		type: 'number',
		typeOptions: { minValue: 1 },
		default: 256,
	},
	{
		displayName: 'Sampling Temperature',
		name: 'temperature',
		type: 'number',
		typeOptions: { maxValue: 2, minValue: 0, numberPrecision: 1 },
		default: 0.7,
	},
];

export const fields: INodeProperties[] = [
	{
		displayName: 'Operation',
		name: 'operation',
		type: 'options',
		noDataExpression: true,
		options: [
			{
				name: 'Ask',
				value: 'ask',
				description: 'Let the right adapters answer',
				action: 'Ask a question',
			},
			{
				name: 'Decide',
				value: 'decide',
				description: 'Only learn who would answer and why; no model is called',
				action: 'Decide who would answer',
			},
		],
		default: 'ask',
	},
	expert,
	{
		displayName: 'Prompt',
		name: 'prompt',
		type: 'string',
		typeOptions: { rows: 3 },
		required: true,
		default: '',
		placeholder: 'e.g. Why is the sky blue?',
	},
	{
		displayName: 'Simplify',
		name: 'simplify',
		type: 'boolean',
		default: true,
		description: 'Whether to return a simplified version of the response instead of the raw data',
	},
	{
		displayName: 'Options',
		name: 'options',
		type: 'collection',
		placeholder: 'Add Option',
		default: {},
		displayOptions: { show: { operation: ['ask'] } },
		options: [history, ...sampling, systemMessage],
	},
	{
		displayName: 'Options',
		name: 'options',
		type: 'collection',
		placeholder: 'Add Option',
		default: {},
		displayOptions: { show: { operation: ['decide'] } },
		options: [history, systemMessage],
	},
];
