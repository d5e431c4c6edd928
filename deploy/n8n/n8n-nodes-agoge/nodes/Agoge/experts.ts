/** What may be asked for, from GET /v1/models: auto, the modes and every set of adapters that the key may use. */
import type { ILoadOptionsFunctions, INodePropertyOptions } from 'n8n-workflow';

import { speakers, type Model } from './wire';

export async function getExperts(this: ILoadOptionsFunctions): Promise<INodePropertyOptions[]> {
	const { url } = await this.getCredentials<{ url: string }>('agogeApi');
	const { data } = (await this.helpers.httpRequestWithAuthentication.call(this, 'agogeApi', {
		method: 'GET',
		url: `${url.replace(/\/+$/, '')}/models`,
		json: true,
	})) as { data: Model[] };
	return data.map((model) => ({ name: model.id, value: model.id, description: speakers(model) }));
}
