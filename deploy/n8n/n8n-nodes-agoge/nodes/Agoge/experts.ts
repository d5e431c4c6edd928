/** What may be asked for, from GET /v1/models: auto, the modes and every set of adapters that the key may use. */
import type { ILoadOptionsFunctions, INodePropertyOptions } from 'n8n-workflow';

export async function getExperts(this: ILoadOptionsFunctions): Promise<INodePropertyOptions[]> {
	const { url } = await this.getCredentials<{ url: string }>('agogeApi');
	const { data } = (await this.helpers.httpRequestWithAuthentication.call(this, 'agogeApi', {
		method: 'GET',
		url: `${url.replace(/\/+$/, '')}/models`,
		json: true,
	})) as { data: Array<{ id: string }> };
	return data.map(({ id }) => ({ name: id, value: id }));
}
