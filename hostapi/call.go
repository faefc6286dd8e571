package hostapi

// APIRequest is the request of the host call api: one call of WeChat's API. The
// host adds the app's token.
type APIRequest struct {
	Method string  // GET, POST, …
	Path   string  // from the slash after the API's host on, such as /cgi-bin/user/info
	Query  []Field // without access_token
	Body   []byte  // JSON; none with GET and HEAD
	// IdempotencyKey is the plugin's word that executing the call twice does no
	// harm, and what names it: the host then repeats it where WeChat says that it is
	// busy. At most MaxCallKey bytes; empty: no such word is given.
	IdempotencyKey string
}

// APIResponse is the response of the host call api.
//
// With OK and UPSTREAM it is WeChat's answer. With every other status there is
// none, but for Error and MaybeExecuted.
type APIResponse struct {
	Status  int32  // of HTTP
	Body    []byte // at most MaxCallAnswer bytes
	Errcode int32  // what WeChat's answer says; 0: nothing, or 0
	// Class says what is to be done about an Errcode that is not 0: refresh_once,
	// backoff, quota_stop, user_state, relogin, operator_alert, caller_error; more may
	// be added. treat_as_ok goes with OK: what was wanted is already so.
	Class       string
	Rid         string // WeChat's id of the request; empty: none came
	ContentType string // empty: none came
	Error       string // what is wrong, where the status is neither OK nor UPSTREAM
	// MaybeExecuted says that WeChat may have done what it was asked, though there
	// is no answer: to call again may do it twice.
	MaybeExecuted bool
}

// FetchRequest is the request of the host call fetch: one request to a service of
// the business. Address, secrets and time limit are the operator's.
type FetchRequest struct {
	Upstream string // by the plugin's own name for it, from its manifest
	Method   string // GET, HEAD, POST, PUT, PATCH or DELETE
	Path     string // below the upstream's url; empty: that itself
	Query    []Field
	// Headers are of those that ABI.md lists; any other is INVALID.
	Headers []Field
	Body    []byte // none with GET and HEAD
	// IdempotencyKey goes out as the header of this name. At most MaxCallKey bytes.
	IdempotencyKey string
}

// FetchResponse is the response of the host call fetch.
//
// With OK it is the upstream's answer, whatever its status. With every other
// status there is none, but for Error and MaybeExecuted.
type FetchResponse struct {
	Status  int32   // of HTTP
	Headers []Field // of those that ABI.md lists, names in their usual spelling
	Body    []byte  // at most MaxFetchAnswer bytes
	Error   string  // what is wrong, where the status is not OK
	// MaybeExecuted says that the upstream may have done what it was asked, though
	// there is no answer.
	MaybeExecuted bool
}
