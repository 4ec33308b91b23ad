// oidc-provider with one client: all its grants, its own pages for sign-in and consent (any password is right), one-time refresh
// tokens (using an old one again ends the grant: whoever forgets a rotated one is found out), PKCE required, revocation.
import { X509Certificate } from 'node:crypto';
import Provider from 'oidc-provider';

const clientId = 'outlink';
const scopes = 'openid email offline_access mail.send';

// The client's public key, as the provider's administrator would upload it; absent for a client with a secret.
const keysOf = (certificate) => {
    if (!certificate) return {};
    const key = new X509Certificate(certificate).publicKey.export({ format: 'jwk' });
    return { jwks: { keys: [{ ...key, use: 'sig' }] } };
};

export async function oauthServer({ issuer, mailbox, say, secret, authentication, certificate, redirects, life }) {
    const keys = keysOf(certificate);
    const oauth = new Provider(issuer, {
        clients: [{
            client_id: clientId,
            ...(keys.jwks || authentication === 'none' ? keys : { client_secret: secret }),
            token_endpoint_auth_method: authentication,
            application_type: 'native', // Any port of a loopback redirect is as good as the registered one (RFC 8252 §7.3).
            grant_types: ['client_credentials', 'authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
            redirect_uris: redirects,
        }],
        scopes: scopes.split(' '),
        claims: { openid: ['sub'], email: ['email'] },
        conformIdTokenClaims: false, // The ID token tells the address, as Google's and Microsoft's do.
        features: { clientCredentials: { enabled: true }, deviceFlow: { enabled: true }, revocation: { enabled: true } },
        findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId, email: accountId }) }),
        pkce: { required: () => true },
        rotateRefreshToken: true,
        ttl: {
            AccessToken: () => life,
            ClientCredentials: () => life,
            RefreshToken: 86400,
            Grant: 86400,
            IdToken: 600,
            DeviceCode: 600,
            Session: 600,
            Interaction: 600,
        },
        cookies: { keys: ['test'] },
    });

    oauth.on('grant.success', ({ body, oidc: { params, entities } }) => say({
        event: 'token',
        grant: params.grant_type,
        of: entities.Grant?.jti,
        access: body.access_token,
        refresh: body.refresh_token,
        identity: body.id_token,
        assertion: params.client_assertion,
        verifier: params.code_verifier,
    }));
    oauth.on('grant.error', (context, { error, error_description, error_detail }) =>
        say({ event: 'token-refused', grant: context.oidc?.params?.grant_type, error, description: error_description, detail: error_detail }));
    oauth.on('authorization_code.saved', (code) => say({ event: 'code', code: code.jti }));
    oauth.on('device_authorization.success', (_, body) => say({ event: 'device', code: body.device_code }));
    oauth.on('authorization.error', (_, { error, error_description }) => say({ event: 'authorization-refused', error, description: error_description }));
    oauth.on('grant.revoked', (_, grant) => say({ event: 'revoked', grant }));
    oauth.on('server_error', (_, error) => say({ event: 'server-error', error: String(error.stack ?? error) }));

    const access = new Set();
    for (const kind of ['access_token', 'client_credentials']) {
        oauth.on(`${kind}.saved`, (token) => {
            access.add(token);
            setTimeout(() => say({ event: 'expired', access: token.jti }), token.remainingTTL * 1000 + 1000).unref();
        });
    }

    // What a person consented to before the test, or elsewhere: a refresh token of a grant of its own.
    const consented = async () => {
        const grant = new oauth.Grant({ accountId: mailbox, clientId });
        grant.addOIDCScope(scopes);
        const client = await oauth.Client.find(clientId);
        const origin = { accountId: mailbox, client, grantId: await grant.save(), gty: 'authorization_code', scope: scopes };
        return new oauth.RefreshToken(origin).save();
    };

    return {
        answer: oauth.callback(),
        consented,
        live: (seconds) => {
            life = seconds;
        },
        forget: async () => {
            await Promise.all([...access].map((token) => token.destroy()));
            access.clear();
        },
        // Whether this access token lets this user log in.
        serves: async (token, user) =>
            Boolean(await oauth.ClientCredentials.find(token)) || (await oauth.AccessToken.find(token))?.accountId === user,
    };
}
