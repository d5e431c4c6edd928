/** A chat model for chains and agents: whoever Agoge chooses speaks. Knows no request; n8n's AI SDK makes them. */
import { supplyModel } from '@n8n/ai-node-sdk';
import {
	NodeConnectionTypes,
	type INodeType,
	type INodeTypeDescription,
	type ISupplyDataFunctions,
	type SupplyData,
} from 'n8n-workflow';

import { getExperts } from '../Agoge/experts';
import { expert, sampling } from '../Agoge/fields';

type Options = { maxTokens?: number; temperature?: number; timeout?: number };

const NO_KEY = 'none'; // the client refuses an empty key; without a keys file Agoge takes any

export class LmChatAgoge implements INodeType {
	description: INodeTypeDescription = {
		displayName: 'Agoge Chat Model',
		name: 'lmChatAgoge',
		icon: { light: 'file:../../icons/agoge.svg', dark: 'file:../../icons/agoge.dark.svg' },
		group: ['transform'],
		version: [1],
		subtitle: '={{$parameter["expert"]}}',
		description: 'Answers by the right LoRA adapters, for AI chains and agents',
		defaults: { name: 'Agoge Chat Model' },
		codex: {
			categories: ['AI'],
			subcategories: {
				AI: ['Language Models', 'Root Nodes'],
				'Language Models': ['Chat Models (Recommended)'],
			},
		},
		inputs: [],
		outputs: [NodeConnectionTypes.AiLanguageModel],
		outputNames: ['Model'],
		credentials: [{ name: 'agogeApi', required: true }],
		properties: [
			expert,
			{
				displayName: 'Options',
				name: 'options',
				type: 'collection',
				placeholder: 'Add Option',
				default: {},
				options: [
					...sampling,
					{
						displayName: 'Timeout',
						name: 'timeout',
						type: 'number',
						typeOptions: { minValue: 1 },
						default: 60000,
						description: 'Milliseconds to wait for an answer',
					},
				],
			},
		],
	};

	methods = { loadOptions: { getExperts } };

	async supplyData(this: ISupplyDataFunctions, itemIndex: number): Promise<SupplyData> {
		const { url, apiKey } = await this.getCredentials<{ url: string; apiKey: string }>('agogeApi');
		const options = this.getNodeParameter('options', itemIndex, {}) as Options;
		return supplyModel(this, {
			type: 'openai',
			baseUrl: url.replace(/\/+$/, ''),
			apiKey: apiKey || NO_KEY,
			model: this.getNodeParameter('expert', itemIndex) as string,
			temperature: options.temperature,
			maxTokens: options.maxTokens,
			timeout: options.timeout,
		});
	}
}
