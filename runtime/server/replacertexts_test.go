package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/wechat"
)

func TestReplaceForms(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"qrscene_oAbcdefghijklmnopqrstuvwx-_1", "qrscene_oPersonaaaaaaaaaaaaaaaaaaaab"},
		{"ref-oAbcdefghijklmnopqrstuvwx-_1_7", "ref-oPersonaaaaaaaaaaaaaaaaaaaab_7"},
		{"oAbcdefghijklmnopqrstuvwx-_1oBbcdefghijklmnopqrstuvwx-_1", "oPersonaaaaaaaaaaaaaaaaaaaaboPersonaaaaaaaaaaaaaaaaaaaac"},
		{"menu_order_list_of_all_the_shops", "menu_order_list_of_all_the_shops"},
		{"138.1234.5678 和 138 123 45678 和 1３８１２３４５６７９", "139.0000.0001 和 139 000 00002 和 13900000003"},
		{"01012345678、(010)12345678、+852 6123 4567", "13900000001、(139)00000002、+139 0000 0003"},
		{"卡 6222 0212 3456 7890 123", "卡 9000 0000 0000 0001 123"},
		{"wxid_a1b2c3d4e5", "wxid_aaaaaaaaaaaaab"},
		{"pages/user?uid=42&n=x 好", "pages/user?replaced=1 好"},
		{"name=Alice;phone=12345", "name=name1;phone=10001"},
		{"姓名：张三，地址：上海市南京路1号", "姓名：name1，地址：place1"},
		{"我叫李四", "我叫name1"},
		{"+86138-0013-8000 和 86138 0013 8000 和 0086-138.0013.8001", "+86139-0000-0001 和 86139 0000 0002 和 0086-139.0000.0003"},
		{"订单186 13800138000", "订单186 13900000001"},
		{"微信号：zhao_min-88，微信: zm1988，QQ 12345678，qq12345679", "微信号：wxid_aaaaaaaaaaaaab，微信: wxid_aaaaaaaaaaaaac，QQ wxid_aaaaaaaaaaaaad，qqwxid_aaaaaaaaaaaaae"},
		{"menu_wechat_login wechat_redirect 微信支付 QQ音乐", "menu_wechat_login wechat_redirect 微信支付 QQ音乐"},
		{`{"name":"张三","n":3,"ok":true,"no":null,"list":[1,{"city":"上海"}]}`, `{"name":"name1","n":3,"ok":true,"no":null,"list":[1,{"city":"place1"}]}`},
		{`{"text":"\u5f20\u4e09 https:\/\/a.cn\/?t=1"}`, `{"text":"张三 https://a.cn/?replaced=1"}`},
		{`{ "code":0, "message" : "ok" }`, `{ "code":0, "message" : "ok" }`},
		{`{"phone":13812345678,"oAbcdefghijklmnopqrstuvwx-_1":1}`, `{"phone":13900000001,"oPersonaaaaaaaaaaaaaaaaaaaab":1}`},
		{`{"broken":"13812345678"`, `{"broken":"13900000001"`},
	} {
		if got := newReplacer().text(c.text); got != c.want {
			t.Errorf("%s: got %s, want %s", c.text, got, c.want)
		}
	}
}

// The names that WeChat's own waybills and addresses have for persons, places and
// secrets, and those that upstreams are likely to use.
func TestReplaceLeaves(t *testing.T) {
	for _, name := range []string{
		"BizPwd", "Receiver.Name", "Receiver.Tel", "Receiver.Mobile", "Receiver.Address", "Receiver.Area", "Receiver.City", "Receiver.Province", "Receiver.PostCode", "SenderArea", "SenderCity",
		"SenderProvince", "SenderAddress", "ShopContact", "ShopTelphone", "userName", "detailInfo", "provinceName", "cityName", "countyName", "postalCode", "telNumber", "legal_persona_name",
		"legal_persona_wechat", "consignee_name", "customer_name", "buyer_name", "contact_person", "first_name", "last_name", "family_name", "given_name", "plate_number", "bank_account", "QQ", "wechat",
	} {
		if kindOfLeaf(name) == notPersonal {
			t.Errorf("%s stays", name)
		}
	}
	for _, name := range []string{"Content", "Cargo.Count", "Title", "Capacity", "TemplateId", "EventKey", "OrderID", "Status", "ServiceName", "Language"} {
		if kindOfLeaf(name) != notPersonal {
			t.Errorf("%s is replaced", name)
		}
	}
}

// Whatever place WeChat has for something personal, it isn't told, nor in what a plugin
// or an upstream makes of it.
func TestReplaceEveryPlace(t *testing.T) {
	const other = "oOther_fghijklmnopqrstuvw-_1"
	personal := []string{
		"oMe", other, "oUnionidabcdefghijklmnopqrs12", "13812345678", "me@corp.cn", "110101199003071234", "31.2304", "121.4737", "小区", "Tom",
		"张三", "10.1.2.3", "mediaAbc", "tok99", "sid=", "4321987", "ciphered+text=", "ivivivivivivivivivivivA==", "kf2001@gh", "wxid_1234567890", "mmbiz.qpic.cn",
	}
	xml := `<xml><ToUserName>gh_0123456789ab</ToUserName><FromUserName>oMe</FromUserName><CreateTime>1</CreateTime><MsgType>event</MsgType><Event>user_get_card</Event>` +
		`<EventKey>qrscene_` + other + `</EventKey><FriendUserName>` + other + `</FriendUserName><UserCardCode>4321987</UserCardCode><OpenID>oMe</OpenID><buyer_openid>oMe</buyer_openid>` +
		`<UnionId>oUnionidabcdefghijklmnopqrs12</UnionId><NickName>Tom</NickName><PhoneNumber>13812345678</PhoneNumber><Remark>Tom says call 13812345678 or me@corp.cn, id 110101199003071234, wxid_1234567890</Remark>` +
		`<SendLocationInfo><Location_X>31.2304</Location_X><Location_Y>121.4737</Location_Y><Label>小区</Label></SendLocationInfo><ScanCodeInfo><ScanResult>https://a.cn/x?sid=1</ScanResult></ScanCodeInfo>` +
		`<SendPicsInfo><PicList><item><PicMd5Sum>tok99</PicMd5Sum></item><item><PicMd5Sum>tok99</PicMd5Sum></item></PicList></SendPicsInfo><ThumbUrl>http://mmbiz.qpic.cn/a/b</ThumbUrl>` +
		`<MediaId16K>mediaAbc</MediaId16K><Ticket>tok99x</Ticket><KfAccount>kf2001@gh</KfAccount><ClientIP>10.1.2.3</ClientIP><PagePath>pages/i?sid=1</PagePath></xml>`
	js := `{"ToUserName":"gh_0123456789ab","FromUserName":"oMe","CreateTime":1,"MsgType":"event","Event":"x","EncryptedData":"ciphered+text=","iv":"ivivivivivivivivivivivA==",` +
		`"List":[{"openid":"` + other + `","receiver_name":"张三","phone":13812345678},{"openids":["oMe"]}],"SessionFrom":"{\"name\":\"张三\",\"code\":\"tok99tok99\"}"}`
	r := newReplacer()
	var told strings.Builder
	for _, src := range []string{xml, js} {
		ev := new(hostapi.Event)
		if err := wechat.Decode("shop", wechat.Opened{Body: []byte(src)}, ev); err != nil {
			t.Fatal(err)
		}
		doc, ok := r.event(ev)
		if !ok {
			t.Fatalf("not written: %s", src)
		}
		told.Write(doc)
	}
	made := r.reply(&hostapi.Reply{Text: &hostapi.Text{Content: "Hi Tom (张三), " + other + ", card 4321987"}}, nil)
	told.Write(made.AppendJSON(nil))
	told.WriteString(r.text(`{"msg":"\u5f20\u4e09 lives in \u5c0f\u533a"}`))
	for _, p := range personal {
		if strings.Contains(told.String(), p) {
			t.Errorf("it tells %q", p)
		}
	}
	if t.Failed() {
		t.Log(told.String())
	}
}

// What a replacer that is full might not know again isn't told at all.
func TestRecordingIsFull(t *testing.T) {
	s := newRecording("")
	for i := range maxLoose + 1 {
		s.replacer.value(personName, fmt.Sprintf("张三%d", i))
	}
	s.began(&hostapi.Event{ID: "1", From: "oMe", Type: "text"}, nil, nil, time.Now())
	if len(s.pending) != 0 || s.leftOut != 1 {
		t.Errorf("%d events, %d left out", len(s.pending), s.leftOut)
	}
}

// Events of whose run nothing comes, and large ones, take no more than their room
// and don't keep the next ones out.
func TestRecordingIsBounded(t *testing.T) {
	s, start := newRecording(""), time.Now()
	begin := func(id string, at time.Time) {
		s.began(&hostapi.Event{ID: id, From: "oMe", Type: "text", Raw: make([]byte, maxRecorded)}, nil, nil, at)
	}
	for i := range maxPending {
		id := fmt.Sprint(i)
		begin(id, start)
		s.answered(id, &pipeline.Answer{Outcome: "success"})
	}
	if s.held > maxHeld+2*maxRecorded || s.leftOut == 0 {
		t.Errorf("it holds %d bytes, %d events are left out", s.held, s.leftOut)
	}
	begin("late", start.Add(2*recordPatience))
	if len(s.pending) != 1 || s.leftOut != maxPending {
		t.Errorf("%d events, %d left out", len(s.pending), s.leftOut)
	}
	s.upstream("crm", &gateway.Request{EventID: "late"}, gateway.Answer{Body: make([]byte, maxRecorded+1)}, nil)
	begin("dropped", start)
	s.answered("dropped", &pipeline.Answer{Outcome: outcomeOfDropped})
	if len(s.pending) != 0 || s.held != 0 || len(s.lines) != 1 {
		t.Errorf("%d events, %d bytes, %d lines", len(s.pending), s.held, len(s.lines))
	}
}
