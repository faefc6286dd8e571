package gateway

// advice is what to do about an errcode.
type advice uint8

const (
	adviceNone advice = iota
	adviceUnknown
	adviceLocal
	adviceBackoff
	adviceMinute
	adviceRefresh
	adviceQuota
	adviceCleared
	adviceCaller
	adviceMethod
	adviceRaw
	adviceOpenid
	adviceMedia
	adviceReupload
	adviceShorten
	adviceCounts
	adviceTemplate
	adviceFields
	advicePage
	adviceUser
	adviceWindow
	adviceTyping
	adviceRelogin
	adviceUsed
	adviceBlocked
	adviceGrant
	adviceAppid
	adviceSecret
	adviceIp
	adviceConfirm
	adviceConsole
	advicePermission
	adviceAgreement
	adviceGone
	adviceReport
	adviceTicket
	adviceComponent
	adviceUnbound
	adviceBind
	adviceKf
	adviceMenu
	adviceRid
	adviceContent
)

// advices are the texts of advice. They never change.
var advices = [...]Text{
	adviceNone:       {"nothing is to be done", "无需处理"},
	adviceUnknown:    {"read errmsg, and WeChat's documentation of the call; don't repeat it as it is", "请查看 errmsg 与微信该接口的文档，不要原样重试"},
	adviceLocal:      {"compare token, EncodingAESKey and app id with the account's settings", "请核对消息校验 Token、EncodingAESKey 与 AppID"},
	adviceBackoff:    {"nothing was executed: wait, longer each time, then call again", "本次未执行：请按递增的间隔等待后重试"},
	adviceMinute:     {"wait a minute, then send it again under the same clientmsgid", "请等待一分钟，再以相同 clientmsgid 重试"},
	adviceRefresh:    {"Weft fetches another token and calls once more; if this goes on, something beside Weft fetches tokens for this app, or the AppSecret was reset", "Weft 会换取新的 token 并重试一次；若持续出现，说明有其他系统也在获取该账号的 token，或 AppSecret 已被重置"},
	adviceQuota:      {"no more of these calls until midnight in China; see /cgi-bin/openapi/quota/get, or clear the quota with /cgi-bin/clear_quota", "今日（北京时间零点前）不再调用该接口；可用 /cgi-bin/openapi/quota/get 查询，用 /cgi-bin/clear_quota 清零"},
	adviceCleared:    {"wait for the next month, or for midnight in China", "请等待下月，或等到北京时间零点配额重置"},
	adviceCaller:     {"correct the request by WeChat's documentation of the call; the same request fails again", "请按微信该接口的文档修正请求；原样重试仍会失败"},
	adviceMethod:     {"use the method that WeChat's documentation of the call says", "请使用微信文档中该接口规定的请求方式"},
	adviceRaw:        {"send valid JSON in raw UTF-8, without \\uXXXX escapes and without escaping & < >", "请发送合法的原始 UTF-8 JSON，不要使用 \\uXXXX，也不要转义 & < >"},
	adviceOpenid:     {"use the openid that this very account knows the user by", "请使用该用户在本账号下的 openid"},
	adviceMedia:      {"check type and size of the file against WeChat's limits", "请按微信的限制检查文件类型与大小"},
	adviceReupload:   {"upload the file again (temporary media live three days) and use the new media_id, once", "请重新上传素材（临时素材保留三天），用新的 media_id 重试一次"},
	adviceShorten:    {"make it shorter or smaller", "请缩短或减小内容"},
	adviceCounts:     {"delete some first, then create", "请先删除一部分再创建"},
	adviceTemplate:   {"look the template up in the account's list and correct template_id or message", "请在账号的模板列表中核对，并修正 template_id 或消息"},
	adviceFields:     {"correct the field that errmsg names: its length, its type, its characters", "请修正 errmsg 指出的字段：长度、类型或字符"},
	advicePage:       {"use a page of the released version", "请使用已发布版本中的页面"},
	adviceUser:       {"don't send it again: mark the user until the user does something", "不要重发：请标记该用户，待用户有新的操作再发"},
	adviceWindow:     {"wait until the user writes, or does something in the account, again", "请等待用户再次发消息或有新的互动"},
	adviceTyping:     {"leave it: it is only shown while the user writes", "可忽略：仅在用户近期有消息时可用"},
	adviceRelogin:    {"let the user log in, or authorize, again with a new code", "请让用户用新的 code 重新登录或授权"},
	adviceUsed:       {"answer with what the first exchange of this code brought, or let the user log in again", "请返回该 code 首次换取的结果，或让用户重新登录"},
	adviceBlocked:    {"tell the user that the login was refused by WeChat", "请告知用户登录被微信拒绝"},
	adviceGrant:      {"ask the user for the authorization that the call needs", "请先取得用户对该接口的授权"},
	adviceAppid:      {"correct app_id in pipeline.yaml: letter case, blanks", "请修正 pipeline.yaml 中的 app_id：大小写、空格"},
	adviceSecret:     {"set app_secret to the account's present AppSecret; nothing is fetched until then", "请将 app_secret 设为账号当前的 AppSecret；在此之前不会再获取 token"},
	adviceIp:         {"add the address to the account's IP allow-list, in the console under basic configuration", "请在公众平台“基本配置”中将该 IP 加入白名单"},
	adviceConfirm:    {"an administrator confirms the address in WeChat, or it is added to the IP allow-list", "请管理员在微信中确认该 IP，或将其加入 IP 白名单"},
	adviceConsole:    {"look into the account's console and its notices for the reason, and how long it lasts", "请登录公众平台，在通知中心查看原因与期限"},
	advicePermission: {"apply for the permission in the account's console, or use an account that has it", "请在公众平台申请该接口权限，或使用具备权限的账号"},
	adviceAgreement:  {"an administrator accepts the agreement in the account's console", "请管理员在公众平台同意该协议"},
	adviceGone:       {"use the call that WeChat's documentation names instead", "请改用微信文档中的替代接口"},
	adviceReport:     {"report it: the host adds the token to every call", "请反馈：token 应由 Weft 自动添加"},
	adviceTicket:     {"wait for WeChat's next component_verify_ticket, or ask for it with api_start_push_ticket", "请等待微信推送新的 component_verify_ticket，或调用 api_start_push_ticket"},
	adviceComponent:  {"use the third-party platform's own kind of token for this call", "请使用该接口所需的第三方平台 token"},
	adviceUnbound:    {"let the account's administrator authorize the third-party platform again", "请让账号管理员重新授权给第三方平台"},
	adviceBind:       {"correct the binding in the open platform's console", "请在开放平台修正绑定关系"},
	adviceKf:         {"correct the customer service account, or choose another worker", "请修正客服账号，或更换客服"},
	adviceMenu:       {"correct the conditional menu by WeChat's documentation", "请按微信文档修正个性化菜单"},
	adviceRid:        {"use the rid of an errmsg of this very account, of the last 7 days", "请使用本账号近 7 天内 errmsg 中的 rid"},
	adviceContent:    {"change the content: WeChat refuses it", "请修改内容：该内容被微信拒绝"},
}

// errcodeRow is an entry of the catalogue.
type errcodeRow struct {
	code             int
	class            Class
	advice           advice
	english, chinese string
}

// errcodes is the catalogue, sorted by code. It never changes. Codes and meanings
// are those that the enumerations of the SDKs agree on (WxJava, wechatpy) and that
// the platform documents; those below -1000 are the SDKs' own and come from no server.
var errcodes = [...]errcodeRow{
	{-41003, ClassCaller, adviceLocal, "the encrypted buffer is malformed (a code of the SDKs)", "加密缓冲区格式错误（SDK 本地错误码）"},
	{-40012, ClassCaller, adviceLocal, "building JSON failed (a code of the SDKs)", "生成 JSON 失败（SDK 本地错误码）"},
	{-40011, ClassCaller, adviceLocal, "building XML failed (a code of the SDKs)", "生成 XML 失败（SDK 本地错误码）"},
	{-40010, ClassCaller, adviceLocal, "base64 decoding failed (a code of the SDKs)", "base64 解码失败（SDK 本地错误码）"},
	{-40009, ClassCaller, adviceLocal, "base64 encoding failed (a code of the SDKs)", "base64 编码失败（SDK 本地错误码）"},
	{-40008, ClassCaller, adviceLocal, "the buffer or XML is invalid (a code of the SDKs)", "解密后的数据或 XML 非法（SDK 本地错误码）"},
	{-40007, ClassCaller, adviceLocal, "AES decryption failed (a code of the SDKs)", "AES 解密失败（SDK 本地错误码）"},
	{-40006, ClassCaller, adviceLocal, "AES encryption failed (a code of the SDKs)", "AES 加密失败（SDK 本地错误码）"},
	{-40005, ClassCaller, adviceLocal, "the app id inside doesn't match (a code of the SDKs)", "appid 校验失败（SDK 本地错误码）"},
	{-40004, ClassCaller, adviceLocal, "the AES key is invalid (a code of the SDKs)", "AES 密钥非法（SDK 本地错误码）"},
	{-40003, ClassCaller, adviceLocal, "computing the SHA failed (a code of the SDKs)", "SHA 计算失败（SDK 本地错误码）"},
	{-40002, ClassCaller, adviceLocal, "the XML can't be parsed (a code of the SDKs)", "XML 解析失败（SDK 本地错误码）"},
	{-40001, ClassCaller, adviceLocal, "the signature doesn't verify (a code of the SDKs)", "签名验证失败（SDK 本地错误码）"},
	{-1000, ClassBackoff, adviceBackoff, "system error", "系统错误"},
	{-1, ClassBackoff, adviceBackoff, "WeChat is busy", "系统繁忙"},
	{0, ClassOK, adviceNone, "success", "请求成功"},
	{40001, ClassRefresh, adviceRefresh, "AppSecret is wrong, or the access_token is not the latest", "AppSecret 错误，或 access_token 无效、不是最新"},
	{40002, ClassCaller, adviceCaller, "the grant_type is wrong", "不合法的 grant_type"},
	{40003, ClassCaller, adviceOpenid, "the openid is invalid, or of another account", "不合法的 OpenID，或属于其他账号"},
	{40004, ClassCaller, adviceMedia, "the type of media is invalid", "不合法的媒体文件类型"},
	{40005, ClassCaller, adviceMedia, "the type of file is invalid", "不合法的文件类型"},
	{40006, ClassCaller, adviceMedia, "the size of the file is invalid", "不合法的文件大小"},
	{40007, ClassCaller, adviceReupload, "the media_id is invalid", "不合法的 media_id"},
	{40008, ClassCaller, adviceCaller, "the type of message is invalid", "不合法的消息类型"},
	{40009, ClassCaller, adviceMedia, "the size of the image is invalid", "不合法的图片文件大小"},
	{40010, ClassCaller, adviceMedia, "the size of the voice is invalid", "不合法的语音文件大小"},
	{40011, ClassCaller, adviceMedia, "the size of the video is invalid", "不合法的视频文件大小"},
	{40012, ClassCaller, adviceMedia, "the size of the thumbnail is invalid", "不合法的缩略图文件大小"},
	{40013, ClassOperator, adviceAppid, "the app id is invalid", "不合法的 AppID"},
	{40014, ClassRefresh, adviceRefresh, "the access_token is not valid", "不合法的 access_token"},
	{40029, ClassRelogin, adviceRelogin, "the login code is invalid, or of another app or flow", "无效的 code，或来自其他应用、其他流程"},
	{40030, ClassRelogin, adviceRelogin, "the refresh_token is invalid", "不合法的 refresh_token"},
	{40033, ClassCaller, adviceRaw, "the body has \\uXXXX escapes where raw UTF-8 is wanted", "请求含有 \\uXXXX 转义，应使用原始 UTF-8"},
	{40035, ClassCaller, adviceCaller, "a parameter is invalid", "不合法的参数"},
	{40037, ClassCaller, adviceTemplate, "the template_id is invalid", "不合法的 template_id"},
	{40091, ClassCaller, adviceTicket, "the component_verify_ticket is invalid", "component_verify_ticket 无效"},
	{40094, ClassCaller, adviceTicket, "the credential of the third-party platform is invalid", "第三方平台凭证无效"},
	{40097, ClassCaller, adviceCaller, "a parameter is wrong", "参数错误"},
	{40125, ClassOperator, adviceSecret, "AppSecret is invalid", "无效的 AppSecret"},
	{40163, ClassRelogin, adviceUsed, "the login code was used before", "code 已被使用"},
	{40164, ClassOperator, adviceIp, "this host's address is not in the account's IP allow-list; it stands in errmsg", "调用方 IP 不在白名单中，IP 见 errmsg"},
	{40226, ClassCaller, adviceBlocked, "the user is taken for a high risk, and may not log in", "高风险用户，登录被拦截"},
	{40243, ClassOperator, adviceSecret, "AppSecret is frozen", "AppSecret 已被冻结"},
	{41001, ClassCaller, adviceReport, "the access_token is missing", "缺少 access_token 参数"},
	{41002, ClassCaller, adviceCaller, "the app id is missing", "缺少 appid 参数"},
	{41003, ClassRelogin, adviceRelogin, "the refresh_token is missing", "缺少 refresh_token 参数"},
	{41004, ClassCaller, adviceCaller, "the secret is missing", "缺少 secret 参数"},
	{41006, ClassCaller, adviceReupload, "the media_id is missing", "缺少 media_id 参数"},
	{41008, ClassCaller, adviceCaller, "the login code is missing", "缺少 code 参数"},
	{41011, ClassCaller, adviceCaller, "a required parameter is missing", "缺少必填参数"},
	{41028, ClassCaller, adviceCaller, "the form_id is invalid", "form_id 不正确，或者过期"},
	{41029, ClassCaller, adviceCaller, "the form_id was used", "form_id 已被使用"},
	{41030, ClassCaller, advicePage, "the page is not in the released version", "page 不正确，或不在已发布的版本中"},
	{42001, ClassRefresh, adviceRefresh, "the access_token has expired", "access_token 已过期"},
	{42002, ClassRelogin, adviceRelogin, "the refresh_token has expired", "refresh_token 已过期"},
	{42003, ClassRelogin, adviceRelogin, "the login code has expired", "code 已过期"},
	{42004, ClassCaller, adviceCaller, "the plugin token has expired", "插件 token 已过期"},
	{42005, ClassCaller, adviceCaller, "the API's usage has expired", "接口使用期限已过"},
	{42006, ClassCaller, adviceComponent, "the component_access_token has expired", "component_access_token 已过期"},
	{42007, ClassRelogin, adviceRelogin, "the user changed the password: the user's tokens are void", "用户修改了密码，用户的 access_token 与 refresh_token 已失效"},
	{42008, ClassCaller, adviceCaller, "the VoIP key has expired", "voip key 已过期"},
	{42009, ClassCaller, adviceCaller, "the temporary token has expired", "临时 token 已过期"},
	{43001, ClassCaller, adviceMethod, "it must be GET", "需要 GET 请求"},
	{43002, ClassCaller, adviceMethod, "it must be POST", "需要 POST 请求"},
	{43003, ClassCaller, adviceMethod, "it must be HTTPS", "需要 HTTPS 请求"},
	{43004, ClassUser, adviceUser, "the receiver doesn't follow the account", "需要接收者关注"},
	{43005, ClassCaller, adviceUser, "the receiver is no friend", "需要好友关系"},
	{43019, ClassUser, adviceUser, "the receiver is on the blacklist", "接收者在黑名单中"},
	{43101, ClassUser, adviceUser, "the user refused the message, or cancelled the subscription", "用户拒绝接受消息，或取消了订阅"},
	{43102, ClassCaller, adviceTemplate, "the template is not of the type that this message needs", "模板类型与该消息不符"},
	{43103, ClassCaller, adviceTemplate, "the template may not be used with this API", "该模板不能用于此接口"},
	{43104, ClassCaller, adviceTemplate, "the account has no permission for the template", "账号没有使用该模板的权限"},
	{43105, ClassCaller, adviceTemplate, "the template isn't bound to the account", "模板与账号没有绑定关系"},
	{43106, ClassCaller, adviceTemplate, "messages of this template are punished", "该模板消息能力被处罚"},
	{44001, ClassCaller, adviceReupload, "the media file is empty", "多媒体文件为空"},
	{44002, ClassCaller, adviceCaller, "the POST body is empty", "POST 的数据包为空"},
	{44003, ClassCaller, adviceCaller, "the news is empty", "图文消息内容为空"},
	{44004, ClassCaller, adviceCaller, "the text is empty", "文本消息内容为空"},
	{45001, ClassCaller, adviceMedia, "the media file is too large", "多媒体文件大小超过限制"},
	{45002, ClassCaller, adviceShorten, "the content is too long", "消息内容超过限制"},
	{45003, ClassCaller, adviceShorten, "the title is too long", "标题字段超过限制"},
	{45004, ClassCaller, adviceShorten, "the description is too long", "描述字段超过限制"},
	{45005, ClassCaller, adviceShorten, "the link is too long", "链接字段超过限制"},
	{45006, ClassCaller, adviceShorten, "the picture's link is too long", "图片链接字段超过限制"},
	{45007, ClassCaller, adviceShorten, "the voice is too long", "语音播放时间超过限制"},
	{45008, ClassCaller, adviceShorten, "there are too many articles", "图文消息的文章数超过限制"},
	{45009, ClassQuota, adviceQuota, "the API's quota is used up", "接口调用次数超过配额"},
	{45010, ClassCaller, adviceCounts, "there are too many menus", "创建菜单个数超过限制"},
	{45011, ClassBackoff, adviceBackoff, "too many calls in a short time", "调用太频繁，请稍候再试"},
	{45015, ClassUser, adviceWindow, "the time to answer the user is over", "回复时间超过限制"},
	{45018, ClassCaller, adviceCounts, "there are too many groups", "用户组个数超过限制"},
	{45026, ClassCaller, adviceCounts, "there are too many templates", "模板数量超出限制"},
	{45028, ClassQuota, adviceQuota, "no mass messages are left", "没有剩余的群发次数"},
	{45029, ClassCaller, adviceCounts, "there are too many QR codes", "二维码数量超过限制"},
	{45035, ClassOperator, adviceIp, "this host's address is not registered in the IP allow-list", "客户端 IP 未登记在白名单中"},
	{45047, ClassUser, adviceWindow, "too many customer service messages to this user", "对该用户的客服消息条数超过限制"},
	{45056, ClassCaller, adviceCounts, "there are too many tags", "标签数量超过限制"},
	{45057, ClassCaller, adviceCounts, "too many users have the tag", "该标签下的用户数超过限制"},
	{45065, ClassAsOK, adviceNone, "the clientmsgid was sent before; the body holds the earlier msg_id", "相同 clientmsgid 已发送过，返回体中有先前的 msg_id"},
	{45066, ClassBackoff, adviceMinute, "the clientmsgid was tried again within a minute", "相同 clientmsgid 在一分钟内重试"},
	{45067, ClassCaller, adviceShorten, "the clientmsgid is too long", "clientmsgid 过长"},
	{45072, ClassCaller, adviceCaller, "the command of the typing state is wrong", "输入状态的 command 字段取值不对"},
	{45080, ClassCaller, adviceTyping, "the typing state needs a message of the user within 30 s", "下发输入状态，需要用户 30 秒内有过消息"},
	{45081, ClassAsOK, adviceNone, "the typing state is shown already", "已经在输入状态，不可重复下发"},
	{45087, ClassOperator, adviceConsole, "customer service messages are blocked, as a punishment", "客服消息能力被封禁"},
	{45093, ClassQuota, adviceQuota, "no quota is left to send messages", "没有剩余的消息发送配额"},
	{45094, ClassOperator, adviceConsole, "customer service messages are blocked, as a punishment", "客服消息发送被封禁"},
	{45102, ClassOperator, adviceConsole, "the API is blocked for a time", "接口被暂时封禁"},
	{45103, ClassCaller, adviceGone, "the API is no longer supported", "接口已不再支持"},
	{45501, ClassOperator, adviceConsole, "the account or the API is blocked for a time", "账号或接口被暂时封禁"},
	{46001, ClassCaller, adviceReupload, "the media is gone", "不存在媒体数据"},
	{46004, ClassUser, adviceUser, "there is no such user", "不存在的用户"},
	{47001, ClassCaller, adviceRaw, "the JSON or XML can't be parsed", "解析 JSON/XML 内容错误"},
	{47002, ClassCaller, adviceRaw, "the body has \\uXXXX escapes, or is not UTF-8", "请求含有 \\uXXXX 转义，或不是 UTF-8 编码"},
	{47003, ClassCaller, adviceFields, "the template's data is invalid; errmsg names the field", "模板参数不合法，errmsg 中指明字段"},
	{48001, ClassOperator, advicePermission, "the account has no permission for this API", "接口功能未授权"},
	{48002, ClassUser, adviceUser, "the user switched off receiving messages", "用户关闭了接收消息"},
	{48003, ClassOperator, adviceAgreement, "the agreement on mass messages was not accepted", "管理员尚未同意群发协议"},
	{48004, ClassOperator, adviceConsole, "the API is banned", "接口被封禁，请登录公众平台查看"},
	{48006, ClassQuota, adviceCleared, "this month's clearings of the quota are used up", "本月清零次数已用完"},
	{48008, ClassOperator, advicePermission, "the account has no permission for this type of message", "没有该类型消息的发送权限"},
	{48009, ClassCaller, adviceGone, "the API has expired", "接口已失效"},
	{49003, ClassCaller, adviceOpenid, "the openid doesn't belong to the app id", "openid 与 appid 不匹配"},
	{50001, ClassCaller, adviceGrant, "the user did not authorize this API", "用户未授权该接口"},
	{50002, ClassCaller, adviceUser, "the user is restricted", "用户受限"},
	{50003, ClassOperator, adviceConsole, "the account is blocked for a time", "账号被暂时封禁"},
	{50004, ClassOperator, adviceConsole, "the API is blocked for a time", "接口被暂时封禁"},
	{50005, ClassUser, adviceUser, "the user doesn't follow the account", "用户未关注公众号"},
	{53500, ClassOperator, adviceConsole, "publishing is banned", "发布功能被封禁"},
	{53501, ClassBackoff, adviceBackoff, "publishing is asked for too often", "频繁请求发布"},
	{53502, ClassCaller, adviceCaller, "the publish_id is invalid", "publish_id 无效"},
	{53600, ClassCaller, adviceCaller, "the article_id is invalid", "article_id 无效"},
	{61003, ClassOperator, adviceUnbound, "the account did not authorize the third-party platform, or no longer does", "账号未授权给第三方平台，或已取消授权"},
	{61004, ClassOperator, adviceIp, "the API is not authorized, or this host's address is not in the IP allow-list: see errmsg", "接口未授权，或调用方 IP 不在白名单中，详见 errmsg"},
	{61005, ClassCaller, adviceTicket, "the component_verify_ticket has expired", "component_verify_ticket 已过期"},
	{61006, ClassCaller, adviceTicket, "the component_verify_ticket is invalid", "component_verify_ticket 无效"},
	{61007, ClassCaller, adviceUnbound, "the API was not granted to the third-party platform", "接口未授权给第三方平台"},
	{61009, ClassCaller, adviceUnbound, "the authorization code is invalid", "授权码无效"},
	{61010, ClassCaller, adviceUnbound, "the authorization code has expired", "授权码已过期"},
	{61011, ClassCaller, adviceComponent, "the third-party platform is invalid", "第三方平台无效"},
	{61014, ClassCaller, adviceComponent, "this API needs another kind of token", "此接口需要另一种 token"},
	{61015, ClassCaller, adviceComponent, "this API needs another kind of token", "此接口需要另一种 token"},
	{61023, ClassOperator, adviceUnbound, "the authorizer's refresh_token is invalid", "授权方的 refresh_token 无效"},
	{61024, ClassCaller, adviceComponent, "a third-party platform gets its credentials by another API", "第三方平台应使用其他接口获取凭证"},
	{61450, ClassBackoff, adviceBackoff, "system error of customer service", "客服系统错误"},
	{61451, ClassCaller, adviceCaller, "a parameter is invalid", "参数错误"},
	{61452, ClassCaller, adviceKf, "the customer service account is invalid", "无效的客服账号"},
	{61453, ClassCaller, adviceKf, "the customer service account exists already", "客服账号已存在"},
	{61454, ClassCaller, adviceKf, "the customer service account's name is too long", "客服账号名长度超过限制"},
	{61455, ClassCaller, adviceKf, "the customer service account's name has characters that are not allowed", "客服账号名包含非法字符"},
	{61456, ClassCaller, adviceKf, "there are too many customer service accounts", "客服账号个数超过限制"},
	{61457, ClassCaller, adviceKf, "the avatar's file type is invalid", "无效的头像文件类型"},
	{63002, ClassCaller, adviceCaller, "the JS-SDK signature is invalid", "无效的 JS-SDK 签名"},
	{65301, ClassCaller, adviceMenu, "there is no conditional menu of this id", "不存在此 menuid 对应的个性化菜单"},
	{65302, ClassCaller, adviceMenu, "there is no such user", "没有相应的用户"},
	{65303, ClassCaller, adviceMenu, "there is no default menu, which a conditional one needs", "没有默认菜单，不能创建个性化菜单"},
	{65304, ClassCaller, adviceMenu, "the match rule is empty", "MatchRule 信息为空"},
	{65305, ClassCaller, adviceCounts, "there are too many conditional menus", "个性化菜单数量超过限制"},
	{65306, ClassCaller, adviceMenu, "the account has no conditional menus", "不支持个性化菜单的账号"},
	{65307, ClassCaller, adviceMenu, "the conditional menu is empty", "个性化菜单信息为空"},
	{65308, ClassCaller, adviceMenu, "a button has no type of response", "包含没有响应类型的 button"},
	{65309, ClassCaller, adviceMenu, "conditional menus are switched off", "个性化菜单开关处于关闭状态"},
	{65310, ClassCaller, adviceMenu, "a province or city without a country", "填写了省份或城市信息，国家信息不能为空"},
	{65311, ClassCaller, adviceMenu, "a city without a province", "填写了城市信息，省份信息不能为空"},
	{65312, ClassCaller, adviceMenu, "the country is invalid", "不合法的国家信息"},
	{65313, ClassCaller, adviceMenu, "the province is invalid", "不合法的省份信息"},
	{65314, ClassCaller, adviceMenu, "the city is invalid", "不合法的城市信息"},
	{65315, ClassCaller, adviceMenu, "the conditional menu is wrong", "个性化菜单有误"},
	{65316, ClassCaller, adviceCounts, "the menu's links lead to too many domains", "菜单外跳的域名过多"},
	{65317, ClassCaller, adviceMenu, "a URL is invalid", "不合法的 URL"},
	{65413, ClassCaller, adviceKf, "the user has no customer service session", "不存在对应用户的会话"},
	{65414, ClassCaller, adviceKf, "another worker serves the user", "用户正在被其他客服接待"},
	{65415, ClassCaller, adviceKf, "the worker is offline", "指定的客服不在线"},
	{76001, ClassCaller, adviceRid, "there is no such rid", "rid 不存在"},
	{76002, ClassCaller, adviceRid, "the rid is malformed", "rid 为空或者格式错误"},
	{76003, ClassCaller, adviceRid, "the rid is of another account", "该 rid 不属于当前账号"},
	{76021, ClassCaller, adviceCaller, "the cgi_path is wrong", "cgi_path 填错了"},
	{76022, ClassCaller, adviceCaller, "the token is of another account", "当前调用接口使用的 token 与账号不符"},
	{87007, ClassRelogin, adviceRelogin, "the session_key is missing, or has expired", "session_key 不存在或已过期"},
	{87008, ClassCaller, adviceCaller, "the sig_method is invalid", "无效的 sig_method"},
	{87009, ClassCaller, adviceCaller, "the signature is invalid", "无效的签名"},
	{87014, ClassCaller, adviceContent, "the content is risky, or against the rules", "内容含有违法违规内容"},
	{89002, ClassOperator, adviceBind, "the account isn't bound to an open platform account", "该账号未绑定开放平台账号"},
	{89003, ClassOperator, adviceBind, "the open platform account was not made by this API", "该开放平台账号并非通过接口创建，不允许操作"},
	{89004, ClassOperator, adviceBind, "the open platform account has too many accounts", "该开放平台账号绑定的账号数已达上限"},
	{89501, ClassOperator, adviceConfirm, "the address waits for an administrator's word", "此 IP 正在等待管理员确认"},
	{89502, ClassOperator, adviceConfirm, "the address waits for an administrator's word", "此 IP 等待管理员确认"},
	{89503, ClassOperator, adviceConfirm, "calls from the address need an administrator's word", "此 IP 调用需要管理员确认"},
	{89504, ClassOperator, adviceConfirm, "the address waits for an administrator's word", "此 IP 等待管理员确认"},
	{89505, ClassOperator, adviceConfirm, "the address waits for an administrator's word", "此 IP 等待管理员确认"},
	{89506, ClassOperator, adviceConfirm, "an administrator refused the address twice: it may not call for 24 hours", "24 小时内该 IP 被管理员拒绝调用两次，24 小时内不可再使用该 IP"},
	{89507, ClassOperator, adviceConfirm, "an administrator refused the address: it may not call for an hour", "1 小时内该 IP 被管理员拒绝调用一次，1 小时内不可再使用该 IP"},
	{9001001, ClassCaller, adviceCaller, "the body's parameters are invalid", "POST 数据参数不合法"},
	{9001002, ClassBackoff, adviceBackoff, "a service behind WeChat is out of reach", "远端服务不可用"},
}
