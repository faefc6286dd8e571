package wechat

import "slices"

// Words are the documented words of the platform, in their documented
// spelling, sorted without regard to letter case. WeChat adds words without
// notice: a word that is not here is unknown, not wrong.
type Words struct {
	MsgTypes  []string // values of MsgType
	Events    []string // values of Event
	InfoTypes []string // values of InfoType
	// Answered are those of Events whose answer is business data, where success
	// says nothing.
	Answered []string
}

// Catalogue returns the documented words. The slices are the caller's own.
func Catalogue() Words {
	var w Words
	w.MsgTypes = append(w.MsgTypes, msgTypes[:]...)
	w.Answered = append(w.Answered, answered[:]...)
	for _, c := range catalogue {
		if c.info {
			w.InfoTypes = append(w.InfoTypes, c.word)
		} else {
			w.Events = append(w.Events, c.word)
		}
	}
	return w
}

// Documented returns the documented spelling of an Event or InfoType, which is
// looked up without regard to letter case (senders differ), and name itself
// where it is not documented. Such a name is whatever was sent: not for labels.
func Documented(name string) string {
	if name == "" {
		return ""
	}
	i, ok := slices.BinarySearchFunc(catalogue[:], name, func(c catalogued, name string) int {
		return compareFold(c.word, name)
	})
	if !ok {
		return name
	}
	return catalogue[i].word
}

// compareFold orders strings by their bytes, ASCII capitals as small letters.
func compareFold(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// msgTypes are the values of MsgType.
var msgTypes = [...]string{
	"device_event",
	"device_status",
	"device_text",
	"event",
	"file",
	"hardware",
	"image",
	"link",
	"location",
	"miniprogrampage",
	"shortvideo",
	"text",
	"video",
	"voice",
}

// answered are the Events whose answer is business data.
var answered = [...]string{
	"add_waybill",
	"cancel_waybill",
	"check_biz",
	"get_quota",
	"open_product_receive_coupon",
	"xpay_coin_pay_notify",
	"xpay_complaint_notify",
	"xpay_goods_deliver_notify",
	"xpay_refund_notify",
}

// catalogued is a value of Event, or of InfoType.
type catalogued struct {
	word string
	info bool
}

// catalogue is sorted by compareFold.
var catalogue = [...]catalogued{
	{"add_express_path", false},
	{"add_store_audit_info", false},
	{"add_waybill", false},
	{"aftersale_complaint_update_order_state", false},
	{"aftersale_merchant_confirm_receipt_overdue", false},
	{"aftersale_merchant_handle_refund_overdue", false},
	{"aftersale_merchant_handle_return_overdue", false},
	{"aftersale_new_order", false},
	{"aftersale_refund_success", false},
	{"aftersale_update_order", false},
	{"aftersale_user_apply_platform_judge_overdue", false},
	{"aftersale_user_cancel", false},
	{"aftersale_user_confirm_refund_certificate", false},
	{"aftersale_user_modify_return_info", false},
	{"aftersale_user_upload_return_info_overdue", false},
	{"aftersale_wait_merchant_confirm_receipt", false},
	{"aftersale_wait_merchant_offline_refund", false},
	{"annual_renew", false},
	{"apply_merchant_audit_info", false},
	{"authorized", true},
	{"betaapp_verify_apply_event", false},
	{"betaapp_verify_event", false},
	{"bind", false},
	{"cancel_waybill", false},
	{"card_merchant_check_result", false},
	{"card_not_pass_check", false},
	{"card_pass_check", false},
	{"card_pay_order", false},
	{"card_sku_remind", false},
	{"check_biz", false},
	{"CLICK", false},
	{"cloud_invoice_invoiceresult_event", false},
	{"complaint callback", false},
	{"complaint_callback", false},
	{"complaint_notify", false},
	{"component_verify_ticket", true},
	{"create_map_poi_audit_info", false},
	{"debug_demo", false},
	{"FREEPUBLISHJOBFINISH", false},
	{"funds_order_pay", false},
	{"funds_order_profitsharing", false},
	{"funds_order_refund", false},
	{"get_quota", false},
	{"giftcard_pay_done", false},
	{"giftcard_send_to_friend", false},
	{"giftcard_user_accept", false},
	{"guide_qrcode_scan_event", false},
	{"kf_close_session", false},
	{"kf_create_session", false},
	{"kf_switch_session", false},
	{"LOCATION", false},
	{"location_select", false},
	{"MASSSENDJOBFINISH", false},
	{"merchant_order", false},
	{"minigame_coin_deliver_completed", false},
	{"miniprogram_sharer_action", false},
	{"miniprogram_sharer_bind_status_change", false},
	{"modify_store_audit_info", false},
	{"naming_verify_fail", false},
	{"naming_verify_success", false},
	{"notify_3rd_wxa_auth", true},
	{"notify_3rd_wxa_wxverify", true},
	{"notify_third_fasteregister", true},
	{"notify_third_fastverifybetaapp", true},
	{"open_product_account_register", false},
	{"open_product_brand_audit", false},
	{"open_product_category_audit", false},
	{"open_product_order_analyze", false},
	{"open_product_order_pay", false},
	{"open_product_receive_coupon", false},
	{"open_product_scene_group_audit", false},
	{"open_product_spu_audit", false},
	{"open_product_spu_status_update", false},
	{"pic_photo_or_album", false},
	{"pic_sysphoto", false},
	{"pic_weixin", false},
	{"poi_check_notify", false},
	{"PUBLISHJOBFINISH", false},
	{"qualification_verify_fail", false},
	{"qualification_verify_success", false},
	{"SCAN", false},
	{"scancode_push", false},
	{"scancode_waitmsg", false},
	{"secbook_audit_event", false},
	{"secvod_audit_event", false},
	{"secvod_upload_event", false},
	{"ShakearoundUserShake", false},
	{"submit_invoice_title", false},
	{"submit_membercard_user_info", false},
	{"subscribe", false},
	{"subscribe_msg_change_event", false},
	{"subscribe_msg_popup_event", false},
	{"subscribe_msg_sent_event", false},
	{"subscribe_status", false},
	{"TEMPLATESENDJOBFINISH", false},
	{"trade_manage_order_settlement", false},
	{"trade_manage_remind_access_api", false},
	{"trade_manage_remind_shipping", false},
	{"unauthorized", true},
	{"unbind", false},
	{"unsubscribe", false},
	{"unsubscribe_status", false},
	{"update_business_bind_result", false},
	{"update_invoice_status", false},
	{"update_member_card", false},
	{"update_waybill_status", false},
	{"updateauthorized", true},
	{"user_authorization_cancellation", false},
	{"user_authorization_revoke", false},
	{"user_authorize_invoice", false},
	{"user_consume_card", false},
	{"user_del_card", false},
	{"user_enter_session_from_card", false},
	{"user_enter_tempsession", false},
	{"user_get_card", false},
	{"user_gifting_card", false},
	{"user_info_modified", false},
	{"user_pay_from_pay_cell", false},
	{"user_scan_product", false},
	{"user_scan_product_async", false},
	{"user_scan_product_enter_session", false},
	{"user_scan_product_verify_action", false},
	{"user_view_card", false},
	{"verify_expired", false},
	{"VIEW", false},
	{"view_miniprogram", false},
	{"weapp_audit_delay", false},
	{"weapp_audit_fail", false},
	{"weapp_audit_success", false},
	{"WifiConnected", false},
	{"withdraw_notify", false},
	{"wx_verify_dispatch", false},
	{"wx_verify_pay_succ", false},
	{"wxa_appeal_record", false},
	{"wxa_category_audit", false},
	{"wxa_comment_bad_score", false},
	{"wxa_illegal_record", false},
	{"wxa_media_check", false},
	{"wxa_nickname_audit", false},
	{"wxa_privacy_apply", false},
	{"xpay_coin_pay_notify", false},
	{"xpay_complaint_notify", false},
	{"xpay_goods_deliver_notify", false},
	{"xpay_refund_notify", false},
}
