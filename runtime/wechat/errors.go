package wechat

import "errors"

// What Verify and Open answer with.
var (
	// ErrNotAuthentic is the one answer to whatever is wrong with a signature,
	// a timestamp or a sealed part. It is always the same, so that a sender
	// learns nothing from it. HTTP 403.
	ErrNotAuthentic = errors.New("not authentic: signature, timestamp or sealed content is wrong")
	// ErrMode is a callback (or, in OpenReply, an answer) of another mode than
	// the app's. HTTP 400.
	ErrMode = errors.New("message mode is not the app's: compare mode in pipeline.yaml with the platform's setting (安全模式 encrypted, 兼容模式 compatible, 明文模式 plain)")
)

// ErrUndecodable is wrapped by every error of Decode; the wrapping error says
// at which byte, and why. Neither quotes the callback.
var ErrUndecodable = errors.New("undecodable callback")

// What AppendReply answers with.
var (
	// ErrNoReply is a reply with no body, or with more than one.
	ErrNoReply = errors.New("reply must have exactly one body")
	// ErrNotPassive is a reply that a mini program can't give as the answer to
	// a callback: only transfer and raw are passive there.
	ErrNotPassive = errors.New("reply is not passive in a mini program: only transfer and raw are")
)
