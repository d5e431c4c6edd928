/** Asks Agoge, or only asks it who would answer. Knows n8n; what the bodies look like is in wire.ts. */
import {
	NodeApiError,
	NodeConnectionTypes,
	NodeOperationError,
	type IDataObject,
	type IExecuteFunctions,
	type INodeExecutionData,
	type INodeType,
	type INodeTypeDescription,
	type JsonObject,
} from 'n8n-workflow';

import { getExperts } from './experts';
import { fields } from './fields';
import {
	answer,
	askBody,
	decideBody,
	decision,
	HISTORY_INVALID,
	messages,
	refusal,
	type Fields,
	type Options,
} from './wire';

const OPERATIONS = {
	ask: { path: '/chat/completions', body: askBody, read: answer },
	decide: { path: '/decisions', body: decideBody, read: decision },
};

export class Agoge implements INodeType {
	description: INodeTypeDescription = {
		displayName: 'Agoge',
		name: 'agoge',
		icon: { light: 'file:../../icons/agoge.svg', dark: 'file:../../icons/agoge.dark.svg' },
		group: ['transform'],
		version: [1],
		subtitle: '={{$parameter["operation"] + ": " + $parameter["expert"]}}',
		description: 'Answers by the right LoRA adapters, and the decision about who should speak',
		defaults: { name: 'Agoge' },
		usableAsTool: true,
		inputs: [NodeConnectionTypes.Main],
		outputs: [NodeConnectionTypes.Main],
		credentials: [{ name: 'agogeApi', required: true }],
		properties: fields,
	};

	methods = { loadOptions: { getExperts } };

	async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
		const done: INodeExecutionData[] = [];
		for (let item = 0; item < this.getInputData().length; item++) {
			try {
				done.push({ json: await one.call(this, item), pairedItem: { item } });
			} catch (error) {
				const message = refusal(error) ?? (error as Error).message;
				if (this.continueOnFail()) {
					done.push({ json: { error: message }, pairedItem: { item } });
				} else if (error instanceof NodeOperationError) {
					throw new NodeOperationError(this.getNode(), error, { itemIndex: item });
				} else {
					throw new NodeApiError(this.getNode(), error as JsonObject, { itemIndex: item, message });
				}
			}
		}
		return [done];
	}
}

async function one(this: IExecuteFunctions, item: number): Promise<IDataObject> {
	const operation = OPERATIONS[this.getNodeParameter('operation', item) as keyof typeof OPERATIONS];
	const options = this.getNodeParameter('options', item, {}) as Options;
	const conversation = messages(this.getNodeParameter('prompt', item) as string, options);
	if (!conversation) {
		throw new NodeOperationError(this.getNode(), HISTORY_INVALID, { itemIndex: item });
	}
	const expert = this.getNodeParameter('expert', item) as string;
	const { url } = await this.getCredentials<{ url: string }>('agogeApi', item);
	const reply = (await this.helpers.httpRequestWithAuthentication.call(this, 'agogeApi', {
		method: 'POST',
		url: `${url.replace(/\/+$/, '')}${operation.path}`,
		body: operation.body(expert, conversation, options),
		json: true,
	})) as Fields;
	return operation.read(reply, this.getNodeParameter('simplify', item) as boolean) as IDataObject;
}
