package server

import "strings"

// leaf replaces the value of a leaf by its name, which may say what it is.
func (r *replacer) leaf(name, value string) string {
	if kind := kindOfLeaf(name); kind != notPersonal {
		return r.value(kind, value)
	}
	return r.text(value)
}

// kindOfLeaf is what the name of a leaf says of its value.
func kindOfLeaf(name string) personal {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	name, _, _ = strings.Cut(name, "[")
	name = strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
	switch name {
	case "fromusername", "user", "userid", "uid", "fromuser", "touser", "friendusername":
		return personOpenID
	case "tousername":
		return accountID
	case "latitude", "longitude", "locationx", "locationy", "precision", "lat", "lng", "lon":
		return personCoordinate
	case "label", "poiname", "poiid", "street", "city", "country", "county", "district", "birthday", "sex", "gender", "sendercity", "receivercity", "cityname",
		"countyname", "area", "senderarea", "receiverarea", "areaname", "postcode", "postalcode", "zipcode":
		return personPlace
	case "ip", "clientip", "spbillcreateip", "userip", "remoteip":
		return personIP
	case "name", "xingming", "consignee", "receiver", "buyer", "contact", "shopcontact", "lastname", "surname", "givenname", "familyname", "middlename":
		return personName
	case "wechat", "weixin", "wx", "qq":
		return personAccount
	case "tel":
		return personPhone
	case "picurl", "thumburl", "imgurl", "imageurl", "headimg", "headimgurl", "avatar", "avatarurl":
		return personPicture
	case "msgid", "newmsgid":
		return messageID
	case "sign", "signature", "paysign", "sessionkey", "encrypteddata", "iv", "code", "usercardcode", "oldusercardcode", "authcode", "authorizationcode", "preauthcode", "verifycode", "picmd5sum", "encrypt", "ciphertext", "rawdata":
		return secretValue
	}
	for _, part := range leafParts() {
		if strings.Contains(name, part.word) {
			return part.kind
		}
	}
	return notPersonal
}

// leafParts are words in names of leaves that say what the value is, the first
// that is there counts.
func leafParts() []struct {
	word string
	kind personal
} {
	return []struct {
		word string
		kind personal
	}{
		{"openid", personOpenID},
		{"unionid", personUnionID},
		{"ticket", secretValue},
		{"token", secretValue},
		{"secret", secretValue},
		{"passw", secretValue},
		{"pwd", secretValue},
		{"mediaid", personMedia},
		{"email", personMail},
		{"mailbox", personMail},
		{"phone", personPhone},
		{"mobile", personPhone},
		{"telnumber", personPhone},
		{"telephone", personPhone},
		{"idcard", personDigits},
		{"idno", personDigits},
		{"certno", personDigits},
		{"bankcard", personDigits},
		{"cardno", personDigits},
		{"passport", personDigits},
		{"bankaccount", personDigits},
		{"platenumber", personDigits},
		{"plateno", personDigits},
		{"address", personPlace},
		{"detailinfo", personPlace},
		{"province", personPlace},
		{"nickname", personName},
		{"realname", personName},
		{"truename", personName},
		{"contactname", personName},
		{"receivername", personName},
		{"receiverperson", personName},
		{"contactperson", personName},
		{"consigneename", personName},
		{"customername", personName},
		{"buyername", personName},
		{"firstname", personName},
		{"fullname", personName},
		{"personname", personName},
		{"personaname", personName},
		{"personawechat", personName},
		{"cardholder", personName},
		{"username", personName},
		{"wechatid", personName},
		{"kfaccount", personName},
	}
}
