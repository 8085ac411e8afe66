"""Owns which domains give an address to everybody: an address there says nothing about who has it.

From the providers' own pages and what real mail comes from; short on purpose.  Must not know what such an address means.
"""

from __future__ import annotations

_DOMAINS = """
    126.com 163.com aol.com aol.de arcor.de bigpond.com bk.ru bluewin.ch btinternet.com centrum.cz comcast.net cox.net
    daum.net email.cz email.de fastmail.com fastmail.fm foxmail.com free.fr freenet.de gmail.com gmx.at gmx.ch gmx.com
    gmx.de gmx.fr gmx.net googlemail.com hanmail.net hotmail.co.uk hotmail.com hotmail.de hotmail.es hotmail.fr hotmail.it
    hushmail.com icloud.com inbox.lv inbox.ru interia.pl kabelmail.de laposte.net libero.it list.ru live.at live.co.uk
    live.com live.de live.fr live.nl mac.com mail.com mail.de mail.ru me.com msn.com naver.com o2.pl onet.pl op.pl
    orange.fr outlook.at outlook.com outlook.de outlook.es outlook.fr posteo.de posteo.net proton.me protonmail.ch
    protonmail.com qq.com rambler.ru rediffmail.com rocketmail.com sbcglobal.net seznam.cz sfr.fr sina.com sohu.com
    t-online.de terra.com.br tuta.com tuta.io tutamail.com tutanota.com tutanota.de uol.com.br verizon.net virgilio.it
    vodafone.de wanadoo.fr web.de wp.pl xtra.co.nz yahoo.ca yahoo.co.in yahoo.co.jp yahoo.co.uk yahoo.com yahoo.com.br
    yahoo.de yahoo.es yahoo.fr yahoo.in yahoo.it yandex.com yandex.ru yeah.net ymail.com zoho.com zohomail.com
"""
FREEMAIL = frozenset(_DOMAINS.split())
