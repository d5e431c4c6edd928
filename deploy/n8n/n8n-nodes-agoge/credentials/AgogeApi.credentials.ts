/** Where Agoge listens, and as whom. Knows no node. */
import type {
	IAuthenticateGeneric,
	ICredentialTestRequest,
	ICredentialType,
	Icon,
	INodeProperties,
} from 'n8n-workflow';

export class AgogeApi implements ICredentialType {
	name = 'agogeApi';

	displayName = 'Agoge API';

	icon: Icon = { light: 'file:../icons/agoge.svg', dark: 'file:../icons/agoge.dark.svg' };

	documentationUrl = 'https://agoge.example/docs/n8n';

	properties: INodeProperties[] = [
		{
			displayName: 'Base URL',
			name: 'url',
			type: 'string',
			default: 'http://127.0.0.1:8080/v1',
			required: true,
			description: 'Where Agoge listens, ending on /v1',
		},
		{
			displayName: 'API Key',
			name: 'apiKey',
			type: 'string',
			typeOptions: { password: true },
			default: '',
			description: 'Empty where Agoge runs without a keys file',
		},
	];

	authenticate: IAuthenticateGeneric = {
		type: 'generic',
		properties: { headers: { Authorization: '=Bearer {{$credentials.apiKey}}' } },
	};

	test: ICredentialTestRequest = {
		request: { baseURL: '={{$credentials.url.replace(/\\/+$/, "")}}', url: '/models' },
	};
}
